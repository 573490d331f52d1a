"""The caches tell of changes, to all who listen."""

from typing import cast

import pytest

from support.rest_tasks import made_user
from weir_api.state.caches import Caches
from weir_crds.kinds import USER
from weir_kube.api import Api
from weir_kube.store import Key


def test_a_listener_that_fails_is_logged_and_the_others_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The reply to our own write has to reach the client, whatever somebody thinks of it."""
    caches, told = Caches(cast(Api, None)), list[Key]()

    def fails(_: Key) -> None:
        raise ValueError("no such word")

    caches.listen(USER, fails)
    caches.listen(USER, told.append)
    caches.note(USER, made_user("ada"))

    assert told == [Key("", "ada")]
    assert "no such word" in caplog.text
