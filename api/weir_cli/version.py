"""``kubectl weir version``."""

from importlib import metadata

from weir_cli.formatting import serialize, table
from weir_cli.kubectl import Kubectl
from weir_cli.options import VersionOptions
from weir_crds.kinds import HOST


def print_version(kubectl: Kubectl, options: VersionOptions) -> None:
    """Show the plugin's version and, unless only that is asked for, those of the daemons."""
    client = metadata.version("weir")
    hosts = [] if options.client else kubectl.list(HOST)
    daemons = {
        host["metadata"]["name"]: ((host.get("status") or {}).get("info") or {}).get(
            "daemonVersion", ""
        )
        for host in hosts
    }
    if options.output != "table":
        found: dict[str, object] = {"client": client} | (
            {} if options.client else {"daemons": daemons}
        )
        print(serialize(found, options.output))
        return
    print(f"Client Version: {client}")
    if daemons:
        print(table(("HOST", "DAEMON"), sorted(daemons.items())))
