import asyncio
import os
import signal
import time
from pathlib import Path

from support.aio import until
from support.cluster import Cluster
from support.served_host import STARTED, ServedHost, start_weir, weir
from weir_crds.kinds import HOST, TASK
from weir_crds.names import container_name
from weir_nodedaemon.engines.port import Stream

BYTES = bytes(range(256)) * 100


async def test_output_of_a_running_and_of_an_ended_task_comes_byte_by_byte(
    host: ServedHost, kubeconfig: Path
) -> None:
    container = await host.run_task("train")
    await host.runs.print(container, BYTES)
    await host.runs.print(container, b"oops\n", Stream.STDERR)
    for _ in range(2):
        got = await weir(kubeconfig, "logs", "-n", host.namespace, "train")
        assert (got.code, got.out, got.err) == (0, BYTES + b"oops\n", "")
        await host.runs.end(container)
    got = await weir(kubeconfig, "-n", host.namespace, "logs", "wt/train", "--stream=stderr")
    assert (got.code, got.out) == (0, b"oops\n")
    got = await weir(kubeconfig, "logs", "-n", host.namespace, "--tail", "1", "task.weir.dev/train")
    assert (got.code, got.out) == (0, BYTES.rpartition(b"\n")[2] + b"oops\n")


async def test_follow_waits_for_the_start_says_so_and_ends_with_the_run(
    host: ServedHost, kubeconfig: Path
) -> None:
    obj = await host.create_task("train")
    process = await start_weir(kubeconfig, "logs", "-f", "-n", host.namespace, "train")
    assert process.stderr is not None
    assert process.stdout is not None
    async with asyncio.timeout(60):
        assert await process.stderr.readline() == b"waiting for train to start: it has no host\n"
        queued = {
            "type": "Scheduled",
            "status": "False",
            "reason": "InsufficientCapacity",
            "message": "0/1 hosts: 1 lack cpu (n1)",
            "lastTransitionTime": "2026-11-22T10:00:00Z",
        }
        await host.set_task("train", conditions=[queued])
        assert await process.stderr.readline() == (
            b"waiting for train to start: it has no host"
            b" (InsufficientCapacity: 0/1 hosts: 1 lack cpu (n1))\n"
        )
        container = container_name(obj["metadata"]["uid"], 1)
        await host.runs.add(container)
        await host.set_running("train")
        await until(lambda: host.runs.readers == 1)
        await host.runs.print(container, b"first\n")
        assert await process.stdout.readline() == b"first\n"
        await host.runs.print(container, b"last")
        await host.runs.end(container)
        assert await process.stdout.read() == b"last"
        assert await process.wait() == 0


async def test_a_daemon_that_hears_of_the_start_a_little_later_is_asked_again(
    host: ServedHost, kubeconfig: Path
) -> None:
    await host.print_and_end("train", b"here\n")
    known = host.tasks.list()[0]
    host.tasks.apply("DELETED", known)
    before = host.times_answered(404)
    asking = asyncio.ensure_future(weir(kubeconfig, "logs", "-n", host.namespace, "train"))
    await until(lambda: host.times_answered(404) > before)
    await host.set_task("train", conditions=[STARTED | {"message": "again"}])
    got = await asking
    assert (got.code, got.out, got.err) == (0, b"here\n", "")


async def test_what_cannot_be_printed_is_said_as_kubectl_would(
    host: ServedHost, kubeconfig: Path
) -> None:
    async def fails(*arguments: str) -> str:
        got = await weir(kubeconfig, "logs", "-n", host.namespace, *arguments)
        assert (got.code, got.out) == (1, b"")
        return got.err

    assert await fails("nothing") == (
        'Error from server (NotFound): tasks.weir.dev "nothing" not found\n'
    )
    await host.create_task("waiting")
    assert await fails("waiting") == 'error: task "waiting" has no output yet: it has no host\n'
    await host.create_task("killed")
    ended = {
        "type": "Succeeded",
        "status": "False",
        "reason": "Killed",
        "message": "",
        "lastTransitionTime": "2026-11-22T10:00:00Z",
    }
    await host.set_task("killed", finishedAt="2026-11-22T10:00:00Z", conditions=[ended])
    assert await fails("-f", "killed") == (
        'error: task "killed" printed nothing: it never started (Killed)\n'
    )
    await host.run_task("train")
    assert await fails("--run=2", "train") == (
        f"Error from host {host.name} (RunNotFound): there is no run 2: the last is 1\n"
    )
    assert await fails("--previous", "train") == (
        'error: task "train" has no run before its last\n'
    )
    assert await fails("--tail", "x", "train") == (
        "error: argument --tail: must be a number from 0, or -1 for all, not 'x'\n"
        "See 'kubectl weir logs --help' for usage.\n"
    )
    await host.admin.delete(HOST, host.name)
    assert await fails("train") == (f"error: host {host.name} is gone, and the output with it\n")


async def test_a_daemon_with_another_certificate_gets_no_token(
    host: ServedHost, kubeconfig: Path
) -> None:
    await host.run_task("train")
    endpoint = {"endpoint": {"fingerprint": "sha256:" + "0" * 64}}
    await host.admin.patch(HOST, host.name, {"status": endpoint}, subresource="status")
    got = await weir(kubeconfig, "logs", "-n", host.namespace, "train")
    assert got.code == 1
    assert got.err.startswith(f"error: what answers at {host.url} is not the daemon of host")


async def test_a_daemon_that_is_away_is_named(host: ServedHost, kubeconfig: Path) -> None:
    await host.run_task("train")
    endpoint = {"endpoint": {"url": "https://127.0.0.1:9"}}
    await host.admin.patch(HOST, host.name, {"status": endpoint}, subresource="status")
    got = await weir(kubeconfig, "logs", "-n", host.namespace, "train")
    assert got.code == 1
    assert f"cannot reach the daemon of host {host.name} at https://127.0.0.1:9" in got.err


async def test_output_that_breaks_off_is_an_error_after_what_came(
    host: ServedHost, kubeconfig: Path
) -> None:
    container = await host.run_task("train")
    await host.runs.print(container, b"some\n")
    process = await start_weir(kubeconfig, "logs", "-f", "-n", host.namespace, "train")
    assert process.stdout
    async with asyncio.timeout(60):
        printed = await process.stdout.readline()
        await host.runs.lose(container)
        out, err = await process.communicate()
    assert (process.returncode, printed + out) == (1, b"some\n")
    assert b"broke off" in err


async def test_whoever_may_not_read_logs_is_told_what_is_missing(
    host: ServedHost, cluster: Cluster
) -> None:
    await host.run_task("train")
    got = await weir(cluster.kubeconfig_for("weir-operator"), "logs", "-n", host.namespace, "train")
    assert got.code == 1
    assert got.err.startswith("error: failed to create token: serviceaccounts")
    assert "kubectl create rolebinding NAME --role=weir-log-reader" in got.err


async def test_ctrl_c_ends_without_a_word_and_frees_the_engine(
    host: ServedHost, kubeconfig: Path
) -> None:
    await host.run_task("train")
    process = await start_weir(kubeconfig, "logs", "-f", "-n", host.namespace, "train")
    await until(lambda: host.runs.readers == 1)
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert (process.returncode, out, err) == (-signal.SIGINT, b"", b"")
    await until(lambda: host.runs.readers == 0)


async def test_a_reader_that_goes_away_ends_it_without_a_word(
    host: ServedHost, kubeconfig: Path
) -> None:
    container = await host.run_task("train")
    reads, writes = os.pipe()
    process = await start_weir(
        kubeconfig, "logs", "-f", "-n", host.namespace, "train", stdout=writes
    )
    os.close(writes)
    await until(lambda: host.runs.readers == 1)
    os.close(reads)
    await host.runs.print(container, b"nobody reads this\n")
    async with asyncio.timeout(60):
        _, err = await process.communicate()
    assert (process.returncode, err) == (141, b"")


async def test_an_api_server_that_does_not_answer_is_given_up_in_time(tmp_path: Path) -> None:
    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came = time.monotonic()
        await reader.read()
        waited.append(time.monotonic() - came)
        writer.close()

    waited: list[float] = []

    server = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(f"""
apiVersion: v1
kind: Config
current-context: c
clusters: [{{name: c, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
users: [{{name: u, user: {{token: t}}}}]
""")
    got = await weir(kubeconfig, "logs", "--request-timeout=500ms", "train")
    assert max(waited) < 10  # of our own accord it would be 15
    assert got.code == 1
    assert got.err.startswith("Unable to connect to the server: ")
    server.close()
    await server.wait_closed()


async def test_output_of_a_deleted_task_of_the_same_name_is_not_shown(
    host: ServedHost, kubeconfig: Path
) -> None:
    """The daemon hears of the deletion later than we do."""
    await host.print_and_end("train", b"of the old one\n")
    known = host.tasks.list()[0]
    await host.admin.delete(TASK, "train", host.namespace)
    await host.print_and_end("train", b"of the new one\n")
    new = host.tasks.list()[0]
    host.tasks.replace([known], new["metadata"]["resourceVersion"])

    before = host.times_answered(200)
    process = await start_weir(kubeconfig, "logs", "-n", host.namespace, "train")
    await until(lambda: host.times_answered(200) > before)
    host.tasks.replace([new], new["metadata"]["resourceVersion"])
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert (process.returncode, out, err) == (0, b"of the new one\n", b"")
