"""Kubeconfigs, written as JSON, which is YAML."""

import base64
import json
from pathlib import Path

from devcluster.pki import Pair


def kubeconfig_text(server: str, ca: Path, user: dict[str, str]) -> str:
    """Return a kubeconfig with one context named ``weir``."""
    cluster = {"server": server, "certificate-authority-data": _base64(ca)}
    context = {"cluster": "weir", "user": "weir", "namespace": "default"}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "weir",
        "clusters": [{"name": "weir", "cluster": cluster}],
        "contexts": [{"name": "weir", "context": context}],
        "users": [{"name": "weir", "user": user}],
    }
    return json.dumps(config, indent=1) + "\n"


def client_certificate(pair: Pair) -> dict[str, str]:
    """Return a user that is known by a client certificate, held in the kubeconfig itself."""
    return {
        "client-certificate-data": _base64(pair.cert),
        "client-key-data": _base64(pair.key),
    }


def token_file(path: Path) -> dict[str, str]:
    """Return a user that is known by the token in a file, which may be replaced at any time."""
    return {"tokenFile": str(path)}


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
