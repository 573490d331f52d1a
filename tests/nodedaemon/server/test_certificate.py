import datetime as dt
from pathlib import Path

import pytest

from weir_nodedaemon.server.certificate import load_or_create

NOW = dt.datetime(2026, 11, 22, 10, tzinfo=dt.UTC)
NAMES = ["n1", "10.0.0.5", "::1"]


def test_it_is_kept_for_the_owner_only_and_used_again(tmp_path: Path) -> None:
    first = load_or_create(tmp_path, NAMES, now=NOW)
    assert first.key_path.stat().st_mode & 0o777 == 0o600
    assert first.fingerprint.startswith("sha256:")
    assert len(first.fingerprint) == len("sha256:") + 64
    later = NOW + dt.timedelta(days=3000)
    assert load_or_create(tmp_path, ["::1", *NAMES], now=later) == first


@pytest.mark.parametrize(
    ("names", "days"), [(["n2", *NAMES[1:]], 0), (NAMES[:1], 0), (NAMES, 3600)]
)
def test_other_names_or_a_near_end_make_another(
    tmp_path: Path, names: list[str], days: int
) -> None:
    first = load_or_create(tmp_path, NAMES, now=NOW)
    other = load_or_create(tmp_path, names, now=NOW + dt.timedelta(days=days))
    assert other.fingerprint != first.fingerprint
    assert other.key_path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"garbage", None])
def test_a_damaged_file_is_replaced(tmp_path: Path, content: bytes | None) -> None:
    first = load_or_create(tmp_path, NAMES, now=NOW)
    if content is None:  # the key of another
        other = load_or_create(tmp_path / "other", NAMES, now=NOW)
        certificate = first.cert_path.read_text().partition("-----BEGIN PRIVATE")[0]
        key = other.cert_path.read_text().partition("-----BEGIN PRIVATE")
        content = (certificate + key[1] + key[2]).encode()
    first.cert_path.write_bytes(content)
    again = load_or_create(tmp_path, NAMES, now=NOW)
    assert again.fingerprint != first.fingerprint
