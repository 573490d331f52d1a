"""The development control plane: a real Kubernetes API server, Docker and Weir on one machine.

Run as ``python -m devcluster up|down|status|demo``. Everything that an instance writes is in its
state directory (``.weir/`` of the checkout by default), so instances can run side by side.
"""
