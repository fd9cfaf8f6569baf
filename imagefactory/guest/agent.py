"""QEMU's guest agent, which clouds ask for a machine's state: whether it answers
(https://www.qemu.org/docs/master/interop/qemu-ga-ref.html).
"""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import time

_MAX_BYTES = 1 << 16


def ping(line: socket.socket, seconds: float) -> bool:
    """Whether an agent at the other end answers within that time."""
    number = secrets.randbelow(1 << 31)
    # What an earlier question left in the agent's reader is ended by the byte 0xFF.
    order = b"\xff" + json.dumps({"execute": "guest-sync", "arguments": {"id": number}}).encode() + b"\n"
    until, said = time.monotonic() + seconds, b""
    with contextlib.suppress(OSError):
        line.settimeout(seconds)
        line.sendall(order)
        while (left := until - time.monotonic()) > 0:
            line.settimeout(left)
            data = line.recv(4096)
            if not data:
                return False
            said = (said + data)[-_MAX_BYTES:]
            for each in said.split(b"\n"):
                with contextlib.suppress(ValueError):
                    if json.loads(each) == {"return": number}:
                        return True
    return False
