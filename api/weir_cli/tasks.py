"""The Tasks of all namespaces, of which a person may be allowed to see none."""

import itertools
from collections.abc import Iterable, Iterator, Sequence

from weir_cli.kubectl import ONE_BY_ONE, Kubectl, KubectlError
from weir_crds.kinds import TASK
from weir_kube.store import Object


def all_tasks(kubectl: Kubectl) -> Iterable[Object] | None:
    """Yield the Tasks of all namespaces; None: the person may not see them.

    Raises:
        KubectlError: they are not read, for another reason.
    """
    return _if_allowed(kubectl.each(TASK))


def bound_tasks(kubectl: Kubectl, hosts: Sequence[str]) -> Iterable[Object] | None:
    """Yield all Tasks that have these hosts, and perhaps others; None: the person may not see them.

    Raises:
        KubectlError: they are not read, for another reason.
    """
    if len(hosts) > ONE_BY_ONE:
        return _if_allowed(kubectl.each(TASK, selectors={"fieldSelector": "status.nodeName!="}))
    return _if_allowed(
        itertools.chain.from_iterable(
            kubectl.each(TASK, selectors={"fieldSelector": f"status.nodeName={host}"})
            for host in hosts
        )
    )


def _if_allowed(tasks: Iterator[Object]) -> Iterable[Object] | None:
    try:
        first = [*itertools.islice(tasks, 1)]
    except KubectlError as error:
        if error.status != "Forbidden":
            raise
        return None
    return itertools.chain(first, tasks)
