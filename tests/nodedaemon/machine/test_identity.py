"""Who this machine is."""

import uuid
from pathlib import Path

from weir_crds.host import HostInfo
from weir_nodedaemon.machine import identity as machine


def test_the_host_id_outlives_the_state_directory(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir()
    second.mkdir()

    made = machine.host_id(first, "n1", root)

    assert uuid.UUID(made)
    assert machine.host_id(second, "n1", root) == made
    assert machine.host_id(first, "n1", tmp_path) == made  # kept, whatever the machine says
    third = tmp_path / "3"
    third.mkdir()
    assert machine.host_id(third, "n2", root) != made


def test_a_machine_without_an_id_gets_one_that_the_state_directory_keeps(tmp_path: Path) -> None:
    made = machine.host_id(tmp_path, "n1", tmp_path / "nothing")

    assert machine.host_id(tmp_path, "n1", tmp_path / "nothing") == made


def test_info_fits_the_crd(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text('NAME=x\nPRETTY_NAME="Some Linux 12"\n')

    found = machine.info("1.2.3", tmp_path)

    HostInfo.model_validate(found)
    assert found["os"] == "Some Linux 12"
    assert found["daemonVersion"] == "1.2.3"
    assert found["kernel"]
    assert HostInfo.model_validate(machine.info("1.0")).boot_id


def test_addresses_and_endpoint() -> None:
    assert machine.addresses("10.0.0.5", "n1") == [
        {"type": "InternalIP", "address": "10.0.0.5"},
        {"type": "Hostname", "address": "n1"},
    ]
    assert machine.addresses("n1.example", "n1")[0]["type"] == "InternalDNS"
    assert machine.endpoint_url("10.0.0.5", 8443) == "https://10.0.0.5:8443"
    assert machine.endpoint_url("fe80::1", 1) == "https://[fe80::1]:1"
    assert machine.default_address()
