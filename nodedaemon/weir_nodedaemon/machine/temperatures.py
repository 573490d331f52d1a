"""How hot the processors are, from sysfs.

Only the processors' own sensors are read: others (disks, boards) are slow to ask, and tell of
something else. A machine without any (a virtual one, say) tells nothing.
https://docs.kernel.org/hwmon/sysfs-interface.html
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_DRIVERS = frozenset({"coretemp", "k8temp", "k10temp", "zenpower", "via_cputemp"})
_ANY = "cpu"  # what device trees call theirs: cpu_thermal, cpu0_thermal, cputemp
_SANE = range(-50, 151)
# Each core's sensor is asked on that core: not more often than heat changes.
_KEPT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Temperatures:
    """Of all sensors of the processors, in degrees Celsius."""

    average: float
    highest: float


class CpuSensors:
    """Reads the processors' sensors, at most every few seconds."""

    def __init__(
        self, sysfs_root: Path = Path("/sys"), *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Read nothing yet."""
        self._hwmon = sysfs_root / "class/hwmon"
        self._clock = clock
        self._last: Temperatures | None = None
        self._read_at = float("-inf")

    def read(self) -> Temperatures | None:
        """Return the temperatures of a few seconds ago at most; None: there are none."""
        now = self._clock()
        if now - self._read_at >= _KEPT_SECONDS:
            self._read_at = now
            found = list(self._values())
            self._last = Temperatures(sum(found) / len(found), max(found)) if found else None
        return self._last

    def _values(self) -> Iterator[float]:
        for device in sorted(self._hwmon.glob("hwmon*")):
            name = _text(device / "name")
            if name not in _DRIVERS and not name.startswith(_ANY):
                continue
            for sensor in device.glob("temp*_input"):
                text = _text(sensor)
                if text.removeprefix("-").isdecimal() and int(text) // 1000 in _SANE:
                    yield int(text) / 1000


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, ValueError):
        return ""
