"""What every container engine promises about containers."""

import asyncio
import datetime as dt
import signal
from collections.abc import Awaitable, Callable

import pytest

from support.engine_rig import Rig, until
from weir_nodedaemon.engines.port import (
    ContainerEngine,
    CreateRefusedError,
    ImagePullError,
    InstanceGoneError,
    InstanceState,
    Mount,
    ObservedInstance,
    Stream,
)

MIB = 2**20
Verb = Callable[[ContainerEngine, str], Awaitable[None]]


async def test_a_new_container_is_created_and_has_not_run(rig: Rig) -> None:
    name = await rig.create(cpus=(0,), memory_bytes=64 * MIB, stop_grace_seconds=3)
    seen = await rig.seen(name)
    assert seen.name == name
    assert seen.labels["weir.dev/kind"] == "Task"
    assert name == f"weir-{seen.labels['weir.dev/uid']}-1"
    assert seen.state is InstanceState.CREATED
    assert (seen.exit_code, seen.started_at, seen.finished_at) == (None, None, None)
    assert (seen.cpus, seen.memory_bytes, seen.stop_grace_seconds) == ((0,), 64 * MIB, 3)
    assert await rig.engine.observe() == {name: seen}


async def test_without_limits_none_are_shown(rig: Rig) -> None:
    seen = await rig.seen(await rig.create())
    assert (seen.cpus, seen.memory_bytes, seen.gpu_uuids) == ((), None, ())


async def test_create_twice_leaves_the_first(rig: Rig) -> None:
    spec = rig.spec("exit 3")
    await rig.engine.create(spec)
    await rig.engine.create(rig.spec("exit 4", name=spec.name))
    await rig.engine.start(spec.name)
    await rig.engine.create(spec)
    assert (await rig.ended(spec.name)).exit_code == 3


async def test_create_at_the_same_time_makes_one(rig: Rig) -> None:
    spec = rig.spec()
    await asyncio.gather(*(rig.engine.create(spec) for _ in range(4)))
    assert list(await rig.engine.observe()) == [spec.name]


@pytest.mark.parametrize("code", [0, 3, 126, 127])
async def test_an_exit_code_is_the_programs_own(rig: Rig, code: int) -> None:
    seen = await rig.result(f"exit {code}")
    assert (seen.exit_code, seen.oom_killed, seen.error) == (code, False, "")


async def test_times_are_aware_and_in_order(rig: Rig) -> None:
    before = dt.datetime.now(dt.UTC)
    seen = await rig.result("sleep 0.1")
    assert seen.started_at is not None
    assert seen.finished_at is not None
    assert seen.started_at.tzinfo is dt.UTC
    assert before <= seen.started_at < seen.finished_at <= dt.datetime.now(dt.UTC)


async def test_a_quick_program_does_not_end_before_its_start(rig: Rig) -> None:
    seen = await rig.result("true")
    assert seen.started_at is not None
    assert seen.finished_at is not None
    assert seen.started_at <= seen.finished_at


async def test_a_missing_program_is_named(rig: Rig) -> None:
    seen = await rig.result(None, command=("/no/such/program", "arg"))
    assert seen.exit_code == 127
    assert seen.error == "exec /no/such/program failed: No such file or directory"
    assert (await rig.engine.observe())[seen.name] == seen


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
async def test_a_signal_ends_a_program(rig: Rig, number: signal.Signals) -> None:
    name = await rig.run("echo up; sleep 60")
    await rig.says(name, b"up\n")
    await rig.engine.signal(name, number)
    seen = await rig.ended(name)
    assert (seen.exit_code, seen.oom_killed) == (128 + number, False)


async def test_a_program_that_ends_itself_by_a_signal(rig: Rig) -> None:
    assert (await rig.result("kill -9 $$")).exit_code == 137


async def test_a_program_that_ignores_term_is_killed(rig: Rig) -> None:
    name = await rig.run("trap '' TERM; echo up; sleep 60")
    await rig.says(name, b"up\n")
    await rig.engine.signal(name, signal.SIGTERM)
    await asyncio.sleep(0.2)
    assert (await rig.seen(name)).state is InstanceState.RUNNING
    await rig.engine.signal(name, signal.SIGKILL)
    assert (await rig.ended(name)).exit_code == 137


async def test_a_program_that_handles_term_chooses_its_exit_code(rig: Rig) -> None:
    name = await rig.run("trap 'exit 5' TERM; echo up; sleep 60 & wait")
    await rig.says(name, b"up\n")
    await rig.engine.signal(name, signal.SIGTERM)
    assert (await rig.ended(name)).exit_code == 5


async def test_a_program_above_its_memory_is_told_from_a_killed_one(rig: Rig) -> None:
    seen = await rig.result(None, command=("tail", "/dev/zero"), memory_bytes=16 * MIB)
    assert (seen.exit_code, seen.oom_killed) == (137, True)


async def test_a_paused_program_stands_still(rig: Rig) -> None:
    for seconds in (1, 4, 16):  # on a busy machine it may end before the pause
        name = await rig.run(f"sleep {seconds}; echo done")
        await rig.engine.pause(name)
        if (await rig.seen(name)).state is InstanceState.PAUSED:
            break
    said = asyncio.create_task(rig.output(name))
    await asyncio.sleep(seconds + 0.2)
    assert (await rig.seen(name)).state is InstanceState.PAUSED
    assert not said.done()
    await rig.engine.resume(name)
    assert (await asyncio.wait_for(said, 60))[Stream.STDOUT] == b"done\n"
    assert (await rig.ended(name)).exit_code == 0


STATES: dict[str, tuple[Verb, ...]] = {
    "created": (),
    "running": (lambda engine, name: engine.start(name),),
    "paused": (
        lambda engine, name: engine.start(name),
        lambda engine, name: engine.pause(name),
    ),
    "exited": (
        lambda engine, name: engine.start(name),
        lambda engine, name: engine.signal(name, signal.SIGKILL),
    ),
}
VERBS: dict[str, Verb] = {
    "start": lambda engine, name: engine.start(name),
    "start again": lambda engine, name: engine.start_again(name),
    "pause": lambda engine, name: engine.pause(name),
    "resume": lambda engine, name: engine.resume(name),
    "term": lambda engine, name: engine.signal(name, signal.SIGTERM),
    "kill": lambda engine, name: engine.signal(name, signal.SIGKILL),
    "remove": lambda engine, name: engine.remove(name),
    "update": lambda engine, name: engine.update_cpus(name, (0,)),
}
# Every verb in every state, and the state after it.
AFTER = {
    "created": ("running", "created", "created", "created", "created", "created", None, "created"),
    "running": ("running", "running", "paused", "running", "exited", "exited", None, "running"),
    "paused": ("paused", "paused", "paused", "running", "exited", "exited", None, "paused"),
    "exited": ("exited", "running", "exited", "exited", "exited", "exited", None, "exited"),
}


@pytest.mark.parametrize(
    ("now", "verb", "after"),
    [
        (now, verb, after)
        for now, row in AFTER.items()
        for verb, after in zip(VERBS, row, strict=True)
    ],
)
async def test_every_verb_in_every_state_twice_over(
    rig: Rig, now: str, verb: str, after: str | None
) -> None:
    name = await rig.create("echo up; sleep 60")
    for step in STATES[now]:
        await step(rig.engine, name)
        if (await rig.seen(name)).state is InstanceState.RUNNING:
            await rig.says(name, b"up\n")  # until then Docker's init passes no signals on
    if now == "exited":
        await rig.ended(name)
    before = await rig.seen(name)
    assert before.state == now

    async def arrived() -> bool:
        seen = await rig.engine.inspect(name)
        return (seen.state if seen else None) == after

    await VERBS[verb](rig.engine, name)
    await until(arrived, f"{verb} of a container that is {now}")
    if after is not None:
        await VERBS[verb](rig.engine, name)
        assert await arrived()
    if now == after == "exited":
        assert await rig.seen(name) == before


@pytest.mark.parametrize("verb", ["start", "start again", "pause", "resume", "update"])
async def test_what_is_not_there_cannot_be_moved_on(rig: Rig, verb: str) -> None:
    with pytest.raises(InstanceGoneError):
        await VERBS[verb](rig.engine, rig.spec().name)


@pytest.mark.parametrize("verb", ["term", "kill", "remove"])
async def test_to_end_what_is_not_there_is_no_error(rig: Rig, verb: str) -> None:
    name = rig.spec().name
    await VERBS[verb](rig.engine, name)
    assert await rig.engine.inspect(name) is None


async def test_remove_kills_what_runs_and_can_be_said_twice(rig: Rig) -> None:
    name = await rig.run("sleep 60")
    await asyncio.gather(rig.engine.remove(name), rig.engine.remove(name))
    await rig.engine.remove(name)
    assert await rig.engine.observe() == {}


async def test_another_hosts_container_is_neither_seen_nor_touched(rig: Rig) -> None:
    other = rig.other_host()
    spec = rig.spec("sleep 60")
    await other.create(spec)
    await other.start(spec.name)
    assert await rig.engine.inspect(spec.name) is None
    assert await rig.engine.observe() == {}
    await rig.engine.signal(spec.name, signal.SIGKILL)
    await rig.engine.remove(spec.name)
    with pytest.raises(InstanceGoneError):
        await rig.engine.pause(spec.name)
    with pytest.raises(InstanceGoneError):
        await rig.output(spec.name)
    with pytest.raises(CreateRefusedError):
        await rig.engine.create(spec)
    assert await rig.engine.usage(spec.name) is None
    assert (await other.observe())[spec.name].state is InstanceState.RUNNING


async def test_the_host_of_a_container_is_the_engines_whatever_the_labels_say(rig: Rig) -> None:
    name = await rig.create(labels={"weir.dev/host": "somebody-else"})
    assert name in await rig.engine.observe()


async def test_what_is_started_again_has_what_it_wrote_and_a_new_end(rig: Rig) -> None:
    """As a machine that is switched on again; a Task's container never is."""
    name = await rig.run("exit 3")
    first = await rig.ended(name)
    await rig.engine.start_again(name)
    await until(lambda: _ended_after(rig, name, first), "it has ended a second time")
    second = await rig.seen(name)
    assert (second.exit_code, second.error) == (3, "")
    assert second.started_at is not None
    assert first.finished_at is not None
    assert second.started_at >= first.finished_at


async def test_a_container_is_kept_as_an_image_that_others_can_be_made_of(rig: Rig) -> None:
    name = await rig.run("sleep 60")
    image = f"localhost/kept-{name}:1"
    await rig.engine.commit(name, image)
    assert await rig.engine.has_image(image)
    assert (await rig.seen(name)).state is InstanceState.RUNNING
    assert (await rig.result("exit 4", image=image)).exit_code == 4
    with pytest.raises(InstanceGoneError):
        await rig.engine.commit(rig.spec().name, image)


async def test_observe_shows_what_inspect_shows(rig: Rig) -> None:
    names = [
        await rig.create(),
        await rig.run("sleep 60", cpus=(0,)),
        await rig.run("sleep 60"),
        await rig.run("exit 3"),
    ]
    await rig.engine.pause(names[2])
    await rig.ended(names[3])
    for _ in range(2):
        assert await rig.engine.observe() == {name: await rig.seen(name) for name in names}
    await rig.engine.update_cpus(names[1], (1,))
    await rig.engine.resume(names[2])
    observed = await rig.engine.observe()
    assert observed == {name: await rig.seen(name) for name in names}
    assert observed[names[1]].cpus == (1,)
    assert observed[names[2]].state is InstanceState.RUNNING
    await rig.engine.remove(names[1])
    assert (await rig.engine.observe()).keys() == set(names) - {names[1]}


async def test_a_mount_of_what_is_not_there_is_refused(rig: Rig) -> None:
    with pytest.raises(CreateRefusedError, match="bind source path does not exist"):
        await rig.create(mounts=(Mount("/nonexistent/folder", "/data"),))
    assert await rig.engine.observe() == {}


async def test_an_image_that_went_away_can_be_pulled_again(rig: Rig) -> None:
    with pytest.raises(ImagePullError) as caught:
        await rig.create(image="localhost/went-away:1")
    assert not caught.value.permanent


async def test_command_args_and_environment_reach_the_program(rig: Rig) -> None:
    script = "echo $GREETING"
    assert await rig.lines(script, env={"GREETING": "good morning"}) == ["good morning"]
    name = await rig.run(None, command=("echo", "a b"), args=("c", "$D"))
    assert (await rig.output(name))[Stream.STDOUT] == b"a b c $D\n"
    name = await rig.run(None, args=("echo", "args alone"))
    assert (await rig.output(name))[Stream.STDOUT] == b"args alone\n"


async def test_only_a_running_container_has_a_usage(rig: Rig) -> None:
    name = await rig.create("sleep 60")
    assert await rig.engine.usage(name) is None
    await rig.engine.start(name)
    usage = await rig.engine.usage(name)
    assert usage is not None
    assert usage.pids >= 1
    await rig.engine.signal(name, signal.SIGKILL)
    await rig.ended(name)
    assert await rig.engine.usage(name) is None
    assert await rig.engine.usage(rig.spec().name) is None


async def test_an_engine_says_what_it_is(rig: Rig) -> None:
    info = await rig.engine.info()
    assert info.name in {"docker", "fake"}
    assert info.version


async def _ended_after(rig: Rig, name: str, first: ObservedInstance) -> bool:
    seen = await rig.seen(name)
    return seen.state is InstanceState.EXITED and seen.finished_at != first.finished_at
