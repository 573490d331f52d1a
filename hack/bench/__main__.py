"""The command line of the benchmarks."""

import argparse
import asyncio
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from bench import (
    cli,
    control,
    facade,
    latency,
    report,
    restart,
    scheduler,
    storm,
    throughput,
    writes,
)
from bench.report import Report
from bench.sizes import SIZES, Size
from bench.system import System, fresh_system
from devcluster.console import say
from devcluster.errors import DevClusterError
from devcluster.state import CHECKOUT

Benchmark = Callable[[System, Size], Awaitable[Report]]
BENCHMARKS: dict[str, Benchmark] = {
    "latency": latency.run,
    "throughput": throughput.run,
    "control": control.run,
    "restart": restart.run,
    "facade": facade.run,
    "writes": writes.run,
    "storm": storm.run,
    "cli": cli.run,
}
WITHOUT_SYSTEM: dict[str, Callable[[Size], Awaitable[Report]]] = {"scheduler": scheduler.run}
"""Benchmarks of one part alone, in this process."""
NAMES = (*BENCHMARKS, *WITHOUT_SYSTEM)


async def measure(name: str, system: System, size: Size) -> Report:
    """Run one benchmark, and leave the system as it was."""
    try:
        return await BENCHMARKS[name](system, size)
    finally:
        system.reset()


def run_one(name: str, size: Size, out: Path) -> str:
    """Run one benchmark on a system of its own; print its tables, write its JSON.

    Returns:
        What came of it, in one line.
    """
    say(f"benchmark {name}, size {size.name}")
    before, began = report.environment(), time.monotonic()
    if name in WITHOUT_SYSTEM:
        found = asyncio.run(_awaited(WITHOUT_SYSTEM[name](size)))
    else:
        with fresh_system() as system:
            found = asyncio.run(measure(name, system, size))
    seconds = round(time.monotonic() - began)
    load = round(os.getloadavg()[0], 2)
    found.environment |= {**before, "loadAverageAfter": load, "seconds": seconds}
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}.json"
    path.write_text(json.dumps(found.as_json(), indent=1) + "\n")
    print(f"\n{found.text()}\n\nas JSON: {os.path.relpath(path)}\n", flush=True)
    return f"{found.verdict} | {seconds} s"


async def _awaited(report: Awaitable[Report]) -> Report:
    return await report


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks that were asked for; return the exit status."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument(
        "benchmarks",
        nargs="*",
        metavar="BENCHMARK",
        help=f"{', '.join(NAMES)} (default: all, one after the other)",
    )
    parser.add_argument("--size", choices=SIZES, default="full", help="default: %(default)s")
    parser.add_argument(
        "--out", type=Path, default=CHECKOUT / ".bench", metavar="DIR", help="where the JSON goes"
    )
    options = parser.parse_args(arguments)
    unknown = [name for name in options.benchmarks if name not in NAMES]
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    verdicts: list[str] = []
    failed = False
    for name in options.benchmarks or NAMES:
        try:
            verdicts.append(run_one(name, SIZES[options.size], options.out))
        except DevClusterError as exc:
            print(f"\nerror: {exc}\n{exc.hint}".rstrip(), file=sys.stderr)
            failed = True
        except KeyboardInterrupt:
            print("\ninterrupted; nothing is left running", file=sys.stderr)
            return 130
        except Exception as exc:  # the others shall have been measured all the same
            traceback.print_exc()
            verdicts.append(f"{name}: FAILED {exc!r}")
            failed = True
    print("\n".join(verdicts), flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
