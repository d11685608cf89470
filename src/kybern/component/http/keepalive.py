"""TCP keep-alive: how either end of a connection notices that its peer has vanished."""

import socket

# Probes after 15 s without traffic, every 15 s, nine of them.
_PROBES = (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 9))


def probe_dead_peers(sock: socket.socket | None) -> None:
    """Let the kernel notice a peer that vanished, as Go's listeners and dialers do."""
    if sock is None:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _PROBES:
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
