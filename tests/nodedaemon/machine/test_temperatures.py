"""How hot the processors are, as sysfs tells."""

from pathlib import Path

from weir_nodedaemon.machine.temperatures import CpuSensors, Temperatures


def device(sysfs: Path, number: int, name: str, *inputs: str) -> Path:
    folder = sysfs / f"class/hwmon/hwmon{number}"
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    for index, text in enumerate(inputs, start=1):
        (folder / f"temp{index}_input").write_text(text)
    return folder


def test_average_and_highest_of_all_processors(tmp_path: Path) -> None:
    device(tmp_path, 0, "coretemp", "40000\n", "50000\n")
    device(tmp_path, 1, "coretemp", "60000\n")
    assert CpuSensors(tmp_path).read() == Temperatures(50.0, 60.0)


def test_other_things_than_processors_do_not_count(tmp_path: Path) -> None:
    device(tmp_path, 0, "nvme", "80000\n")
    device(tmp_path, 1, "acpitz", "10000\n")
    device(tmp_path, 2, "k10temp", "45500\n")
    device(tmp_path, 3, "cpu_thermal", "44500\n")
    assert CpuSensors(tmp_path).read() == Temperatures(45.0, 45.5)


def test_a_sensor_that_fails_or_lies_is_left_out(tmp_path: Path) -> None:
    device(tmp_path, 0, "coretemp", "40000", "", "nonsense", "-128000", "255000", "-1000")
    (tmp_path / "class/hwmon/hwmon1").mkdir()
    assert CpuSensors(tmp_path).read() == Temperatures(19.5, 40.0)


def test_a_machine_without_sensors_tells_nothing(tmp_path: Path) -> None:
    assert CpuSensors(tmp_path).read() is None


def test_sensors_are_not_read_more_often_than_heat_changes(tmp_path: Path) -> None:
    now = [0.0]
    sensors = CpuSensors(tmp_path, clock=lambda: now[0])
    folder = device(tmp_path, 0, "coretemp", "40000")
    assert sensors.read() == Temperatures(40.0, 40.0)
    (folder / "temp1_input").write_text("50000")
    now[0] = 4.0
    assert sensors.read() == Temperatures(40.0, 40.0)
    now[0] = 5.0
    assert sensors.read() == Temperatures(50.0, 50.0)
