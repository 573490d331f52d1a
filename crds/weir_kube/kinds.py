"""Kinds of Kubernetes itself that Weir reads or writes."""

from weir_crds.kinds import Kind

CONFIGMAP = Kind("", "v1", "configmaps", "ConfigMap", namespaced=True)
NAMESPACE = Kind("", "v1", "namespaces", "Namespace", namespaced=False)
NODE = Kind("", "v1", "nodes", "Node", namespaced=False)
SECRET = Kind("", "v1", "secrets", "Secret", namespaced=True)
SERVICEACCOUNT = Kind("", "v1", "serviceaccounts", "ServiceAccount", namespaced=True)
EVENT = Kind("events.k8s.io", "v1", "events", "Event", namespaced=True)
LEASE = Kind("coordination.k8s.io", "v1", "leases", "Lease", namespaced=True)
TOKENREVIEW = Kind("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", namespaced=False)
SUBJECTACCESSREVIEW = Kind(
    "authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", namespaced=False
)
