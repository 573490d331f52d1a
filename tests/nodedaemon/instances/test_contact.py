"""The last life sign outlives the daemon, not the boot."""

import threading
from pathlib import Path

import pytest

from support.aio import until
from weir_nodedaemon.instances import contact as contact_module
from weir_nodedaemon.instances.contact import Contact


async def test_the_next_daemon_knows_the_last_life_sign(tmp_path: Path) -> None:
    path = tmp_path / "contact.json"
    contact = Contact(path, "boot-1")
    assert contact.uptime is None

    contact.note(12.5)
    await until(lambda: Contact(path, "boot-1").uptime == 12.5)

    assert Contact(path, "boot-2").uptime is None
    await contact.close()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"boot_id": "boot-1", "uptime": "soon"}'])
async def test_what_cannot_be_read_says_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "contact.json"
    path.write_text(text)

    assert Contact(path, "boot-1").uptime is None


async def test_a_disk_that_stands_still_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on, writes = threading.Event(), []

    def stuck(path: Path, data: bytes, *, sync: bool) -> None:
        writes.append(data)
        goes_on.wait(30)

    monkeypatch.setattr(contact_module, "write_atomically", stuck)
    contact = Contact(tmp_path / "contact.json", "boot-1")
    contact.note(1.0)
    await until(lambda: bool(writes))
    for uptime in range(2, 100):
        contact.note(float(uptime))

    assert contact.uptime == 99.0
    assert len(writes) == 1
    goes_on.set()
    await contact.close()


async def test_a_disk_that_refuses_leaves_the_older_note(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    contact = Contact(folder / "contact.json", "boot-1")
    contact.note(1.0)
    await until(lambda: contact.failing)
    folder.mkdir()
    contact.note(2.0)
    await until(lambda: Contact(folder / "contact.json", "boot-1").uptime == 2.0)
    await contact.close()
