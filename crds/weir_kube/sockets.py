"""Sockets that notice when the other machine has vanished, though nothing is sent."""

import socket
from functools import partial

import aiohttp

_PROBES = 3


def _make(
    address: aiohttp.AddrInfoType, *, idle_seconds: int, pause_seconds: int, user_timeout_ms: int
) -> socket.socket:
    family, kind, protocol, _, _ = address
    sock = socket.socket(family, kind, protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", idle_seconds),
        ("TCP_KEEPINTVL", pause_seconds),
        ("TCP_KEEPCNT", _PROBES),
        ("TCP_USER_TIMEOUT", user_timeout_ms),
    ):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return sock


within_half_a_minute = partial(_make, idle_seconds=15, pause_seconds=5, user_timeout_ms=30_000)
"""For ``aiohttp.TCPConnector(socket_factory=...)``: also when what we sent is not taken."""

within_a_minute = partial(_make, idle_seconds=30, pause_seconds=10, user_timeout_ms=0)
"""Likewise, for streams; for how long what we sent may wait is the system's own rule."""
