"""Talking with QEMU while it runs: its machine protocol, over a socket
(https://www.qemu.org/docs/master/interop/qmp-spec.html).
"""

from __future__ import annotations

import json
import queue
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any

from imagefactory.errors import EngineError

_MAX_LINE = 1 << 22
_SECONDS = 30.0


class Qmp:
    """One end of a socket pair; QEMU has the other. ``on_event`` hears of events, in a thread of its own."""

    def __init__(self, end: socket.socket, on_event: Callable[[str, Mapping[str, Any]], None]) -> None:
        self._end, self._on_event = end, on_event
        self._replies: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._lock = threading.Lock()
        self._asked = 0
        self._thread = threading.Thread(target=self._read, name="qmp", daemon=True)
        self._thread.start()

    def greet(self, seconds: float) -> bool:
        """Whether QEMU greets within ``seconds``: then it has its end of the line, and ours may be closed."""
        try:
            greeting = self._replies.get(timeout=seconds)
        except queue.Empty:
            return False
        return greeting is not None

    def ask(self, command: str, **arguments: Any) -> Any:
        """What QEMU returns to a command. Raises EngineError where it refuses, or does not answer."""
        with self._lock:
            self._asked += 1
            order = {"execute": command, "arguments": arguments, "id": self._asked}
            try:
                self._end.sendall(json.dumps(order).encode() + b"\n")
            except OSError:
                raise self._silent(command) from None
            reply = self._next(command, _SECONDS)
            while reply is not None and reply.get("id") != self._asked:  # the late answer to an earlier one
                reply = self._next(command, _SECONDS)
        if reply is None:
            raise self._silent(command)
        if "error" in reply:
            raise EngineError(f"QEMU refuses {command}: {reply['error'].get('desc')}")
        return reply.get("return")

    def join(self) -> None:
        """Wait until QEMU has closed its end."""
        self._thread.join(5)

    def _next(self, what: str, seconds: float) -> dict[str, Any] | None:
        try:
            return self._replies.get(timeout=seconds)
        except queue.Empty:
            raise self._silent(what) from None

    @staticmethod
    def _silent(what: str) -> EngineError:
        return EngineError(
            f"QEMU gives no answer ({what})", hint="look at what else this machine does, then try again"
        )

    def _read(self) -> None:
        with self._end, self._end.makefile("rb") as lines:
            while True:
                try:
                    line = lines.readline(_MAX_LINE)
                    said = json.loads(line) if line else None
                except (OSError, ValueError):
                    said = None
                if not isinstance(said, dict):
                    self._replies.put(None)
                    return
                if "event" in said:
                    self._on_event(str(said["event"]), said.get("data") or {})
                else:
                    self._replies.put(said)
