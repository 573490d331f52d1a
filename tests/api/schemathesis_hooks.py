"""What schemathesis is told of submissions: some of them have to fit, so that there are tasks."""

from typing import Any

import schemathesis

from support.tasks import BUSYBOX

_KEPT = ("command", "arguments", "env_vars", "required_memory_bytes")


@schemathesis.hook.apply_to(path="/api/submit")
def map_body(context: schemathesis.HookContext, body: Any) -> Any:
    """Make every other submission one for the host that there is."""
    if not isinstance(body, dict) or len(str(body)) % 2:
        return body
    kept = {name: body[name] for name in _KEPT if name in body}
    return {**kept, "required_cores": 0, "registry_image": BUSYBOX}
