"""The numbers by which REST clients know objects."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from weir_crds.ids import account_id, task_id

UID = "0e1fd3a0-3c5a-4f57-9d2c-6f4f2f2f8b11"


def test_an_id_never_changes() -> None:
    """Clients keep them: the scheme is part of the API."""
    assert task_id(UID) == 2136698683232758466
    assert account_id(UID) == 4173239615688981


@given(st.uuids())
def test_ids_are_numbers_that_clients_can_hold(uid: UUID) -> None:
    assert 0 <= task_id(str(uid)) < 2**62
    assert 0 <= account_id(str(uid)) < 2**53


@given(st.sets(st.uuids(), min_size=2, max_size=50))
def test_ids_differ(uids: set[UUID]) -> None:
    assert len({task_id(str(uid)) for uid in uids}) == len(uids)
    assert len({account_id(str(uid)) for uid in uids}) == len(uids)
