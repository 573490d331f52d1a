"""Runs a command: connection, its work, and what becomes of its failures."""

import asyncio
import os
import sys

from weir_cli.errors import told
from weir_cli.options import HostsOptions, LogsOptions, Options, TopOptions, WhyOptions
from weir_crds.errors import WeirError
from weir_kube.connect import connect

_BROKEN_PIPE = 141  # 128 + SIGPIPE, as a shell says it


def execute(options: Options) -> int:
    """Run a command and return the exit code; failures are told on stderr."""
    try:
        asyncio.run(_execute(options))
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has gone; Python must not try to flush to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except WeirError as error:
        print(told(error), file=sys.stderr)
        return 1
    return 0


async def _execute(options: Options) -> None:
    async with await connect(options.kubeconfig, options.context, "kubectl-weir") as api:
        match options:
            case LogsOptions():
                from weir_cli.logs import print_logs

                await print_logs(api, options)
            case WhyOptions():
                from weir_cli.why import print_why

                await print_why(api, options)
            case HostsOptions():
                from weir_cli.hosts import print_hosts

                await print_hosts(api, options)
            case TopOptions():
                from weir_cli.top import print_top

                await print_top(api, options)
