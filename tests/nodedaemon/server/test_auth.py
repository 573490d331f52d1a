import pytest

from support.daemon_server import CONTAINER, LOG, TokenReviews, World, known_hosts
from weir_kube.errors import ApiUnavailableError
from weir_kube.store import Store
from weir_nodedaemon.server.auth import Access, Authorizer
from weir_nodedaemon.server.errors import (
    AccessDeniedError,
    NotReadyError,
    UnauthenticatedError,
)

GUARDED = [LOG, "/v1/stats"]


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def answer(world: World, path: str, token: str | None) -> tuple[int, str]:
    async with world.get(path, token) as response:
        return response.status, (await response.json())["reason"]


@pytest.mark.parametrize("path", GUARDED)
async def test_no_token_unknown_token_and_no_right(world: World, path: str) -> None:
    world.have_task()
    assert await answer(world, path, None) == (401, "Unauthorized")
    assert await answer(world, path, "unknown") == (401, "Unauthorized")
    assert await answer(world, path, "stranger") == (403, "Forbidden")


@pytest.mark.parametrize("path", GUARDED)
async def test_nobody_is_let_in_while_the_api_server_cannot_be_asked(
    world: World, path: str
) -> None:
    world.have_task()
    world.api.failure = ApiUnavailableError("away")
    assert await answer(world, path, "reader") == (503, "ApiUnavailable")


async def test_a_token_of_an_api_server_that_ignores_audiences_is_refused(world: World) -> None:
    world.api.audiences = None
    assert await answer(world, LOG, "reader") == (401, "Unauthorized")


@pytest.mark.parametrize(
    "header", ["Basic cmVhZGVy", "Bearer", "Bearer ", "reader", "Bearer a b", "Bearer \xe9"]
)
async def test_what_is_no_bearer_token_is_not_even_asked_about(world: World, header: str) -> None:
    async with world.session.get(LOG, headers={"Authorization": header}) as response:
        assert response.status == 401
    assert world.api.token_reviews == 0


async def test_an_endless_token_is_refused_by_name(world: World) -> None:
    async with world.get(LOG, "x" * 20000) as response:
        assert response.status == 400
        assert "header Authorization" in (await response.json())["message"]


async def test_the_right_asked_for_is_the_one_on_that_tasks_log(world: World) -> None:
    world.have_task()
    await world.runs.add(CONTAINER)
    async with world.get(LOG) as response:
        assert response.status == 200
    assert world.api.access_reviews == [
        {
            "verb": "get",
            "group": "weir.dev",
            "resource": "tasks",
            "subresource": "log",
            "namespace": "default",
            "name": "train",
        }
    ]


async def test_health_needs_no_token_and_unknown_paths_are_json_errors(world: World) -> None:
    async with world.get("/healthz", None) as response:
        assert await response.text() == "ok\n"
    assert await answer(world, "/v1/exec", "reader") == (404, "UnknownPath")
    async with world.session.post(LOG) as response:
        assert (response.status, (await response.json())["reason"]) == (405, "MethodNotAllowed")


async def test_verdicts_hold_for_ten_seconds_and_refusals_for_two() -> None:
    reviews, clock = TokenReviews(), Clock()
    authorizer = Authorizer(reviews, known_hosts(), "n1", clock=clock)

    async def ask(token: str) -> None:
        caller = await authorizer.authenticate(f"Bearer {token}")
        await authorizer.authorize(caller, Access("tasks", "log", "train", "default"))

    for now in (100.0, 109.0):
        clock.now = now
        await ask("reader")
    assert (reviews.token_reviews, len(reviews.access_reviews)) == (1, 1)
    clock.now = 110.5
    await ask("reader")
    assert (reviews.token_reviews, len(reviews.access_reviews)) == (2, 2)

    for now, reviewed in ((200.0, 3), (201.0, 3), (202.5, 4)):
        clock.now = now
        with pytest.raises(UnauthenticatedError):
            await ask("unknown")
        assert reviews.token_reviews == reviewed
    for now, reviewed in ((300.0, 3), (301.0, 3), (302.5, 4)):
        clock.now = now
        with pytest.raises(AccessDeniedError, match='"stranger" cannot get tasks'):
            await ask("stranger")
        assert len(reviews.access_reviews) == reviewed


async def test_who_reads_figures_every_second_is_seldom_asked_about() -> None:
    reviews, clock = TokenReviews(), Clock()
    authorizer = Authorizer(reviews, known_hosts(), "n1", clock=clock)
    stats = Access("hosts", "stats", "n1")

    async def ask(token: str) -> None:
        caller = await authorizer.authenticate(f"Bearer {token}", allowed_seconds=120)
        await authorizer.authorize(caller, stats, allowed_seconds=120)

    for second in range(120):
        clock.now = 100.0 + second
        await ask("reader")
    assert (reviews.token_reviews, len(reviews.access_reviews)) == (1, 1)
    clock.now = 220.0
    await ask("reader")
    assert (reviews.token_reviews, len(reviews.access_reviews)) == (2, 2)

    # For what is not figures the same verdict is too old, and a refusal is as short as ever.
    clock.now = 231.0
    await authorizer.authenticate("Bearer reader")
    assert reviews.token_reviews == 3
    for now in (300.0, 302.5):
        clock.now = now
        with pytest.raises(AccessDeniedError):
            await ask("stranger")
    assert len(reviews.access_reviews) == 4


async def test_a_verdict_on_one_task_is_none_on_another() -> None:
    reviews = TokenReviews()
    authorizer = Authorizer(reviews, known_hosts(), "n1")
    caller = await authorizer.authenticate("bearer reader")
    for name, namespace in (("a", "x"), ("b", "x"), ("a", "y")):
        await authorizer.authorize(caller, Access("tasks", "log", name, namespace))
    assert len(reviews.access_reviews) == 3


async def test_thousands_of_tokens_are_not_all_remembered() -> None:
    authorizer = Authorizer(TokenReviews(), known_hosts(), "n1")
    for number in range(5000):
        with pytest.raises(UnauthenticatedError):
            await authorizer.authenticate(f"Bearer {number}")
    assert len(authorizer._callers._verdicts) == 4096


async def test_a_verdict_for_a_host_is_none_for_the_one_that_is_made_anew_under_its_name() -> None:
    reviews, hosts = TokenReviews(), known_hosts()
    authorizer = Authorizer(reviews, hosts, "n1")
    await authorizer.authenticate("Bearer reader")
    again = {"metadata": {"name": "n1", "uid": "another", "resourceVersion": "9"}, "spec": {}}
    hosts.replace([again], "9")
    with pytest.raises(UnauthenticatedError, match="weir-daemon/another"):
        await authorizer.authenticate("Bearer reader")


async def test_nobody_is_let_in_before_the_daemon_knows_its_host() -> None:
    reviews = TokenReviews()
    with pytest.raises(NotReadyError):
        await Authorizer(reviews, Store(), "n1").authenticate("Bearer reader")
    assert reviews.token_reviews == 0
