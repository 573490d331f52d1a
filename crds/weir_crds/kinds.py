"""Which kinds there are, and where the API server serves them."""

from dataclasses import dataclass
from functools import lru_cache, partial
from urllib.parse import quote

GROUP = "weir.dev"
VERSION = "v1alpha1"

# Each request asks for half a dozen parts, and all but the name are few.
_quoted = lru_cache(maxsize=4096)(partial(quote, safe=""))


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of the Kubernetes API. The core group is the empty string."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        """What stands in an object's ``apiVersion``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(
        self,
        namespace: str | None = None,
        name: str | None = None,
        subresource: str | None = None,
    ) -> str:
        """Return the URL path of the collection, of one object, or of its subresource.

        Raises:
            ValueError: a namespace for a cluster-scoped kind, a name without its namespace, or a
                subresource without a name.
        """
        if namespace is not None and not self.namespaced:
            raise ValueError(f"{self.kind} is cluster-scoped, so it has no namespace")
        if name is not None and namespace is None and self.namespaced:
            raise ValueError(f"{self.kind} is namespaced: a name needs its namespace")
        if subresource is not None and name is None:
            raise ValueError("a subresource needs the name of its object")
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if namespace is not None:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name is not None:
            parts.append(name)
        if subresource is not None:
            parts.append(subresource)
        return "/" + "/".join(map(_quoted, parts))


TASK = Kind(GROUP, VERSION, "tasks", "Task", namespaced=True)
HOST = Kind(GROUP, VERSION, "hosts", "Host", namespaced=False)
USER = Kind(GROUP, VERSION, "users", "User", namespaced=False)
ACCESSTOKEN = Kind(GROUP, VERSION, "accesstokens", "AccessToken", namespaced=False)
