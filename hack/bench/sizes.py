"""How much each benchmark does."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """One choice of ``--size``."""

    name: str
    # latency
    pairs: int  # of one Task and one raw container
    # throughput
    batch: int  # Tasks at once, and as many raw containers
    batch_rounds: int
    # control
    hosts: int
    tasks: int
    control_rounds: int
    settle_seconds: float  # so long the processes have to be idle between two rounds
    # restart
    finished: int
    waiting: int
    quiet_seconds: float  # so long nothing is written before the restart
    watch_seconds: float  # after it, for writes that should not come
    # facade, with as many finished Tasks as restart and as many hosts as control
    load_rounds: int
    load_seconds: float  # of each measurement
    submits: int  # in each round
    # scheduler
    fleets: tuple[int, ...]  # numbers of hosts; the last one is judged
    scheduler_seconds: float
    drain_seconds: float  # after which a host is drained for what is blocked
    # writes
    writes: int  # of each kind in each round
    write_rounds: int
    # storm
    storm: int  # good Tasks
    storm_stop_seconds: float  # so long dockerd stands still
    # cli
    cli_hosts: int
    cli_tasks: int


SIZES = {
    size.name: size
    for size in (
        Size(
            "tiny",
            pairs=2,
            batch=4,
            batch_rounds=1,
            hosts=2,
            tasks=12,
            control_rounds=1,
            settle_seconds=0.5,
            finished=20,
            waiting=5,
            quiet_seconds=1.0,
            watch_seconds=1.0,
            load_rounds=1,
            load_seconds=0.3,
            submits=30,
            writes=6,
            write_rounds=1,
            storm=18,
            storm_stop_seconds=3.0,
            cli_hosts=10,
            cli_tasks=40,
            fleets=(2, 4),
            scheduler_seconds=1.0,
            drain_seconds=0.2,
        ),
        Size(
            "small",
            pairs=10,
            batch=20,
            batch_rounds=1,
            hosts=4,
            tasks=300,
            control_rounds=1,
            settle_seconds=2.0,
            finished=1000,
            waiting=100,
            quiet_seconds=12.0,  # a Host's account is written at most every 10 s
            watch_seconds=10.0,
            load_rounds=1,
            load_seconds=2.0,
            submits=400,
            writes=240,
            write_rounds=3,
            storm=45,
            storm_stop_seconds=10.0,
            cli_hosts=100,
            cli_tasks=1000,
            fleets=(20, 100),
            scheduler_seconds=8.0,
            drain_seconds=2.0,
        ),
        Size(
            "full",
            pairs=40,
            batch=60,
            batch_rounds=3,
            hosts=10,
            tasks=2000,
            control_rounds=2,
            settle_seconds=2.0,
            finished=10_000,
            waiting=1000,
            quiet_seconds=12.0,
            watch_seconds=75.0,
            load_rounds=2,
            load_seconds=4.0,
            submits=1000,
            writes=600,
            write_rounds=5,
            storm=180,
            storm_stop_seconds=30.0,
            cli_hosts=1000,
            cli_tasks=10_000,
            fleets=(100, 300, 1000),
            scheduler_seconds=20.0,
            drain_seconds=5.0,
        ),
    )
}
