"""Where the API server serves the kinds."""

import pytest

from weir_crds.kinds import HOST, TASK, Kind

SECRET = Kind("", "v1", "secrets", "Secret", namespaced=True)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (TASK.path(), "/apis/weir.dev/v1alpha1/tasks"),
        (TASK.path("ns"), "/apis/weir.dev/v1alpha1/namespaces/ns/tasks"),
        (TASK.path("ns", "a"), "/apis/weir.dev/v1alpha1/namespaces/ns/tasks/a"),
        (TASK.path("ns", "a", "status"), "/apis/weir.dev/v1alpha1/namespaces/ns/tasks/a/status"),
        (HOST.path(name="n1"), "/apis/weir.dev/v1alpha1/hosts/n1"),
        (SECRET.path("ns", "a"), "/api/v1/namespaces/ns/secrets/a"),
        (SECRET.path("ns", "a/../b"), "/api/v1/namespaces/ns/secrets/a%2F..%2Fb"),
    ],
)
def test_path(path: str, expected: str) -> None:
    assert path == expected


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="cluster-scoped"):
        HOST.path("ns", "n1")
    with pytest.raises(ValueError, match="needs its namespace"):
        TASK.path(name="a")
    with pytest.raises(ValueError, match="needs the name"):
        TASK.path("ns", subresource="status")


def test_api_version() -> None:
    assert (TASK.api_version, SECRET.api_version) == ("weir.dev/v1alpha1", "v1")
