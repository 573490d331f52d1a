"""The daemon's HTTPS port: streams and reads of what runs here. Nothing is changed by it."""

from weir_nodedaemon.server.app import DaemonServer
from weir_nodedaemon.server.certificate import Certificate, load_or_create

__all__ = ["Certificate", "DaemonServer", "load_or_create"]
