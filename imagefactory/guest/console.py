"""What a machine says on its serial line: read from a socket as it comes, and kept within bounds."""

from __future__ import annotations

import codecs
import re
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from imagefactory.errors import disk_error
from imagefactory.system.redact import harmless

KEPT_BYTES = 1 << 20
"""That much of a console's beginning is kept, and as much of its end."""

_LINE = 4096
# Of terminals: ESC [ … letter; ESC ] … BEL; ESC and one or two more (ECMA-48).
_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-~])")


class Console:
    """Reads its end of a socket pair in a thread of its own, until the other end is closed. The file
    ``log`` takes the first bytes; ``on_line`` hears each line, as people may see it. What either of them
    raises is raised by ``check``.
    """

    def __init__(self, end: socket.socket, log: Path, on_line: Callable[[str], None]) -> None:
        self._end, self._log, self._on_line = end, log, on_line
        self._first, self._last = bytearray(), bytearray()
        self._cut = False
        self._error: Exception | None = None
        self._decode = codecs.getincrementaldecoder("utf-8")("replace")
        self._line = ""
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._read, name="console", daemon=True)
        self._thread.start()

    def text(self) -> str:
        """All that is kept, without what a terminal would obey."""
        with self._lock:
            gap = b"\n[... more than is kept ...]\n" if self._cut else b""
            said = bytes(self._first + gap + self._last)
        return clean(said.decode("utf-8", "replace"))

    def check(self) -> None:
        """Raise what went wrong in passing lines on."""
        if self._error:
            raise self._error

    def join(self) -> None:
        """Wait until all is read; the other end must be closed."""
        self._thread.join(5)

    def _read(self) -> None:
        with self._end:
            while True:
                try:
                    data = self._end.recv(1 << 16)
                except OSError:
                    return None
                if not data:
                    return self._tell(self._line)
                self._keep(data)
                self._pass_on(self._decode.decode(data))

    def _keep(self, data: bytes) -> None:
        with self._lock:
            room = KEPT_BYTES - len(self._first)
            begin, rest = data[:room], data[room:]
            self._first += begin
            self._last += rest
            if len(self._last) > KEPT_BYTES:
                self._cut = True
                del self._last[: len(self._last) - KEPT_BYTES]
        if begin:
            try:
                with self._log.open("ab") as out:
                    out.write(begin)
            except OSError as error:
                self._error = self._error or disk_error(error, self._log)

    def _pass_on(self, text: str) -> None:
        self._line += text
        *lines, self._line = self._line.split("\n")
        for line in lines:
            self._tell(line)
        if len(self._line) > _LINE:
            self._tell(self._line)
            self._line = ""

    def _tell(self, line: str) -> None:
        line = clean(line[:_LINE]).rstrip()
        if not line or self._error:
            return
        try:
            self._on_line(line)
        except Exception as error:  # whoever waits for the machine raises it
            self._error = error


def clean(text: str) -> str:
    """What a terminal would show as text, lines apart."""
    return harmless(_SEQUENCE.sub("", text.replace("\r", "")), "\t\n")
