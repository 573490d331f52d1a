"""docs/api/host.md: its commands run as they stand, and its tables name every endpoint."""

import os
import re
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest

from support.facade_process import REGISTER_SECRET, FacadeProcess
from support.weir_system import WeirSystem

PAGE = Path(__file__).parents[2] / "docs" / "api" / "host.md"


@pytest.mark.e2e
@pytest.mark.docker
def test_the_commands_of_the_page_run_as_they_stand(
    weir: WeirSystem, facade: FacadeProcess, tmp_path: Path
) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 5
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", "".join(blocks)],
        cwd=tmp_path,
        env=os.environ | {"WEIR_URL": facade.url, "SECRET": quote(REGISTER_SECRET)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_tables_name_every_endpoint_and_no_other(facade: FacadeProcess) -> None:
    document = facade.request("GET", "/openapi.json").json()
    served = {
        f"{method.upper()} {path.removeprefix('/api')}"
        for path, methods in document["paths"].items()
        for method in methods
        if path.startswith("/api/")
    }
    told = re.findall(r"^\| `([A-Z]+ /[^`]*)` \|", PAGE.read_text(), re.MULTILINE)
    assert len(set(told)) == len(told), "the page says something twice"
    assert set(told) == served
