"""Builders and readers of Tasks, as plain objects."""

from typing import Any

BUSYBOX = "localhost/busybox:demo"


def task(name: str, namespace: str, **spec: Any) -> dict[str, Any]:
    """Return a Task of one core that runs busybox's ``true`` unless told otherwise."""
    return {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "Task",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"image": BUSYBOX, "command": ["true"], **spec},
    }


def condition(obj: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return the condition of that type, or an empty dict."""
    conditions = obj.get("status", {}).get("conditions", [])
    return next((c for c in conditions if c["type"] == kind), {})
