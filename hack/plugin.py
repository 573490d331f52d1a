"""Make the kubectl plugin as one file that needs nothing but Python: ``dist/kubectl-weir``.

Put it on the PATH as ``kubectl-weir``, and for completion once more, a link will do, as
``kubectl_complete-weir``.
"""

import argparse
import shutil
import sys
import tempfile
import zipapp
from importlib import metadata
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (
    ROOT / "api" / "weir_cli",
    ROOT / "crds" / "weir_crds",
    ROOT / "crds" / "weir_kube",
    Path(yaml.__file__).parent,
)
# Parsed by any Python 3, so that one that is too old is told so.
# Ctrl-C ends it while it still imports, too.
MAIN = """\
import os
import signal
import sys

signal.signal(signal.SIGINT, signal.SIG_DFL)

if sys.version_info < (3, 11):
    sys.exit("error: kubectl weir needs Python 3.11 or newer, not %d.%d" % sys.version_info[:2])
if os.path.basename(sys.argv[0]).startswith("kubectl_complete"):
    from weir_cli.complete import main
else:
    from weir_cli.main import main
main()
"""


def build(target: Path) -> None:
    """Write the plugin there, with all the pure Python that it may need."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch)
        for package in PACKAGES:
            shutil.copytree(package, tree / package.name, ignore=_not_python)
        version = metadata.version("weir")
        about = tree / f"weir-{version}.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: weir\nVersion: {version}\n")
        (tree / "__main__.py").write_text(MAIN)
        zipapp.create_archive(tree, target, interpreter="/usr/bin/env python3", compressed=True)
    target.chmod(0o755)


def _not_python(folder: str, names: list[str]) -> set[str]:
    return {
        name
        for name in names
        if name == "__pycache__" or not (name.endswith(".py") or (Path(folder) / name).is_dir())
    }


def main(arguments: list[str] | None = None) -> int:
    """Build it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "dist" / "kubectl-weir")
    target = parser.parse_args(arguments).out
    build(target)
    sys.stdout.write(f"wrote {target} ({target.stat().st_size // 1024} KiB)\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
