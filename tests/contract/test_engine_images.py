"""What every container engine promises about images."""

import asyncio

import pytest

from support.engine_rig import Images, Rig
from weir_nodedaemon.engines.port import ImagePullError


async def test_an_image_is_there_or_not(rig: Rig, images: Images) -> None:
    assert await rig.engine.has_image(rig.image)
    assert not await rig.engine.has_image(images.unknown_tag)
    assert not await rig.engine.has_image("Not An Image")


async def test_a_pull_brings_the_image(rig: Rig, images: Images) -> None:
    assert not await rig.engine.has_image(images.pullable)
    await rig.engine.pull(images.pullable)
    assert await rig.engine.has_image(images.pullable)
    await rig.engine.pull(images.pullable)
    assert (await rig.result("exit 3", image=images.pullable)).exit_code == 3


@pytest.mark.parametrize("which", ["unknown_repository", "unknown_tag"])
async def test_what_the_registry_does_not_have_never_comes(
    rig: Rig, images: Images, which: str
) -> None:
    with pytest.raises(ImagePullError, match="unknown") as caught:
        await rig.engine.pull(getattr(images, which))
    assert caught.value.permanent


@pytest.mark.parametrize("image", ["Not An Image", "UPPER/case:1", "a//b", "-bad", ""])
async def test_a_bad_name_never_comes(rig: Rig, image: str) -> None:
    with pytest.raises(ImagePullError, match=r"[Ii]nvalid") as caught:
        await rig.engine.pull(image)
    assert caught.value.permanent


async def test_a_registry_that_is_away_may_come_back(rig: Rig, images: Images) -> None:
    with pytest.raises(ImagePullError, match="connection refused") as caught:
        await rig.engine.pull(images.unreachable)
    assert not caught.value.permanent


async def test_a_pull_can_be_cancelled(rig: Rig, slow_image: str) -> None:
    pull = asyncio.create_task(rig.engine.pull(slow_image))
    await asyncio.sleep(0.3)
    assert not pull.done()
    pull.cancel()
    await asyncio.wait([pull], timeout=60)
    assert pull.cancelled()
    assert not await rig.engine.has_image(slow_image)
    assert (await rig.result("exit 3")).exit_code == 3
