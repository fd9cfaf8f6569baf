"""What a relay is to a sandbox: an HTTP server that takes no doubtful question, and few at a time."""

from __future__ import annotations

import re
import socket
import socketserver
import threading
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Protocol

from imagefactory.errors import FactoryError, Gone, NetworkFault
from imagefactory.sandbox.routes import Question, Reply, Route
from imagefactory.system.redact import redact

_PATIENCE = 60  # seconds that an errand may take to ask, or to take what it asked for
_MAX_QUESTION = 64 << 20  # bytes of all that is asked at once
_MAX_CONNECTIONS = 128
_ASKS = (
    *("Accept", "Accept-Encoding", "Content-Encoding", "Content-Type", "Git-Protocol"),
    *("If-Modified-Since", "If-None-Match", "If-Range", "Range"),
)
_LENGTH = re.compile(r"[0-9]{1,9}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r\n")


class Leads(Protocol):
    """What the server asks of a relay."""

    def find(self, target: str) -> tuple[Route, str, str] | None:
        """The route of a request's target, what follows its address, and the query."""

    def asking(self, address: str) -> AbstractContextManager[None]:
        """Remember that an address is asked, while the block runs."""

    def note(self, target: str, fault: FactoryError | None) -> None:
        """Remember what became of a target."""


class Server(socketserver.ThreadingMixIn, HTTPServer):
    """Serves a socket that somebody else made, in the sandbox."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, relay: Leads) -> None:
        super().__init__(("127.0.0.1", 0), _Handler, bind_and_activate=False)
        self.socket.close()
        self.relay = relay
        self._serving = False
        self._lock = threading.Lock()
        self._ended = False
        self._connections, self._room = 0, _MAX_QUESTION

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether there may be one more connection, each of which takes a thread of ours."""
        with self._lock:
            fits = self._connections < _MAX_CONNECTIONS
            self._connections += fits
        return fits

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._connections -= 1

    def take(self, count: int) -> bool:
        """Whether so many bytes of questions may be read; below 0, they are done with."""
        with self._lock:
            fits = self._room >= count
            self._room -= count if fits else 0
        return fits

    def serve(self, listener: socket.socket) -> None:
        with self._lock:
            self.socket, self._serving = listener, not self._ended
        if self._serving:
            self.serve_forever(0.1)

    def end(self) -> None:
        with self._lock:
            self._ended = True
        if self._serving:
            self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """An errand went away, or what it says is no HTTP: its own affair."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = _PATIENCE
    server: Server

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  # as its parent has it
        """Nothing: the errand tells what it does."""

    def _serve(self) -> None:
        found = self.server.relay.find(self.path)
        self._taken = 0
        try:
            body = self._question() if found else None
            if found is None or body is None:
                self._refuse(403, "nothing is there for a sandbox")
            else:
                self._ask(*found, body)
        finally:
            self.server.take(-self._taken)

    do_GET = do_HEAD = do_POST = _serve  # noqa: N815

    def _ask(self, route: Route, path: str, query: str, body: bytes) -> None:
        relay, begun = self.server.relay, False
        headers = {name: self.headers[name] for name in _ASKS if name in self.headers}
        asked = Question(self.command, path, query, headers, body if self.command == "POST" else b"")
        try:
            with relay.asking(redact(route.shown(path))), route.reply(asked) as reply:
                begun = True
                whole = self._answer(reply)
            if whole and self.command != "HEAD":
                relay.note(self.path, None)
        except FactoryError as fault:
            if not isinstance(fault, Gone):
                relay.note(self.path, fault)
            if begun:
                self.close_connection = True
            else:
                # Programs ask again after 502, and not after 403.
                status = 404 if isinstance(fault, Gone) else 502 if isinstance(fault, NetworkFault) else 403
                self._refuse(status, "the relay could not have it")  # why is for us to tell

    def _question(self) -> bytes | None:
        """The body of a request; None where there is too much of it, or no telling where it ends."""
        lengths = self.headers.get_all("Content-Length", [])
        codings = [coding.strip().lower() for coding in self.headers.get_all("Transfer-Encoding", [])]
        if codings:
            return self._chunks() if codings == ["chunked"] and not lengths else None
        if len(lengths) > 1 or not all(map(_LENGTH.fullmatch, lengths)):
            return None
        return self._read(int(lengths[0])) if lengths else b""

    def _chunks(self) -> bytes | None:
        body = bytearray()
        while match := _CHUNK.fullmatch(self.rfile.readline(32)):
            size = int(match[1], 16)
            piece = self._read(size)
            if piece is None or self.rfile.readline(2) != b"\r\n":
                return None
            if not size:
                return bytes(body)
            body += piece
        return None

    def _read(self, count: int) -> bytes | None:
        """So much of the body; None where that is too much, with all that others ask."""
        if not self.server.take(count):
            return None
        self._taken += count
        data = self.rfile.read(count)
        return data if len(data) == count else None

    def _answer(self, reply: Reply) -> bool:
        """Whether the errand took all of it."""
        bare = self.command == "HEAD" or reply.status in (204, 304)
        chunked = not bare and reply.length is None
        try:
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if chunked:
                self.send_header("Transfer-Encoding", "chunked")
            elif reply.length is not None:
                self.send_header("Content-Length", str(reply.length))
            self.end_headers()
        except OSError:
            self.close_connection = True
            return False
        for piece in () if bare else reply.body:
            if not self._send(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece):
                return False
        return self._send(b"0\r\n\r\n") if chunked else True

    def _send(self, data: bytes) -> bool:
        """Whether the errand took it."""
        try:
            self.wfile.write(data)
        except OSError:
            self.close_connection = True
            return False
        return True

    def _refuse(self, status: int, reason: str) -> None:
        self.close_connection = True
        said = reason.encode(errors="replace")
        self._answer(Reply(status, {"Content-Type": "text/plain; charset=utf-8"}, (said,), len(said)))
