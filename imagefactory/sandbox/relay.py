"""The one way out of a sandbox: a server on its loopback interface that asks upstreams for it.

It leads to the places that it was given, and nowhere else. Proxies, certificates and passwords stay on this
side, so that nothing in the sandbox has them in reach.
"""

from __future__ import annotations

import contextlib
import re
import socket
import socketserver
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Protocol

from imagefactory.errors import FactoryError, Gone
from imagefactory.system.web import Web, pieces_of

PORT = 8000
ADDRESS = f"http://127.0.0.1:{PORT}"
"""Where a job finds what its relay leads to. Each sandbox has a loopback interface of its own."""
_PIECE = 1 << 16
_PATIENCE = 60  # seconds that a job may take to ask, or to take what it asked for
_MAX_QUESTION = 64 << 20
_MAX_ADDRESS = 8192
_ASKS = ("Accept", "Accept-Encoding", "Content-Encoding", "Content-Type", "Git-Protocol", "If-Modified-Since")
_ASKS_TOO = ("If-None-Match", "If-Range", "Range")
_SAYS = ("Accept-Ranges", "Cache-Control", "Content-Encoding", "Content-Range", "Content-Type", "ETag")
_SAYS_TOO = ("Last-Modified",)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a job asks for: ``path`` follows the route's own address, as the job wrote it, without a ``/``
    first.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Reply:
    """An answer, in pieces; ``length`` is their bytes, where that is known."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Iterable[bytes] = ()
    length: int | None = None


class Route(Protocol):
    """One place that a relay leads to."""

    def reply(self, asked: Asked) -> contextlib.AbstractContextManager[Reply]:
        """The answer. Raises Gone, or another kind of BuildFailed."""


@dataclass(frozen=True)
class Passing:
    """Everything below one address of HTTP(S), as it is. ``named_by`` is the address of who named it, if it is
    none of the site's: see ``Web.opened``.
    """

    web: Web
    address: str
    what: str
    named_by: str = ""

    @contextlib.contextmanager
    def reply(self, asked: Asked) -> Iterator[Reply]:
        """What the upstream answers."""
        place = f"{self.address.rstrip('/')}/{asked.path}" if asked.path else self.address
        url = place + (f"?{asked.query}" if asked.query else "")
        with self.web.opened(
            url, self.what, asked.method, asked.headers, asked.body, named_by=self.named_by
        ) as answer:
            headers = {name: answer.headers[name] for name in (*_SAYS, *_SAYS_TOO) if name in answer.headers}
            length = answer.headers.get("Content-Length", "")
            size = int(length) if re.fullmatch(r"\d{1,18}", length) else None
            yield Reply(answer.status_code, headers, pieces_of(answer), size)


@dataclass(frozen=True)
class Folder:
    """A folder of this machine."""

    folder: Path
    what: str

    @contextlib.contextmanager
    def reply(self, asked: Asked) -> Iterator[Reply]:
        """A file in it, wherever its links lead in it."""
        root = self.folder.resolve()
        file = (root / urllib.parse.unquote(asked.path)).resolve()
        if not file.is_relative_to(root) or not file.is_file():
            raise Gone(f"{self.what}: there is no file {file}")
        with file.open("rb") as content:
            yield Reply(200, {}, iter(lambda: content.read(_PIECE), b""), file.stat().st_size)


def route_to(address: str, web: Web, what: str) -> Route:
    """The route to an address of HTTP(S), or to a folder by ``file:///``."""
    if address.startswith("file:"):
        return Folder(Path(urllib.request.url2pathname(urllib.parse.urlsplit(address).path)), what)
    return Passing(web, address, what)


class Relay:
    """Leads from a sandbox to the routes that were added, each at ``/<number>/``.

    ``fault`` is the first failure of an upstream, in our words; None where all answered.
    """

    def __init__(self) -> None:
        self._routes: list[Route] = []
        self.fault: FactoryError | None = None

    def add(self, route: Route) -> str:
        """The address of a route in the sandbox, without a ``/`` at its end."""
        self._routes.append(route)
        return f"{ADDRESS}/{len(self._routes) - 1}"

    @contextlib.contextmanager
    def serving(self, control: socket.socket) -> Iterator[None]:
        """Serve the socket that comes through ``control``, while the block runs."""
        self.fault = None
        server = _Server(self)

        def serve() -> None:
            with contextlib.suppress(OSError, ValueError):  # the sandbox ended before it began
                _, (number,), _, _ = socket.recv_fds(control, 1, 1)
                server.serve(socket.socket(fileno=number))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                control.shutdown(socket.SHUT_RDWR)
            server.end()
            thread.join(_PATIENCE)

    def find(self, target: str) -> tuple[Route, str, str] | None:
        """The route of a request's target, what follows its address, and the query; None where there is
        none.
        """
        path, _, query = target.partition("?")
        match = re.fullmatch(r"/(\d{1,4})(?:/(.*))?", path)
        if not match or len(target) > _MAX_ADDRESS or int(match[1]) >= len(self._routes):
            return None
        rest = match[2] or ""
        # An upstream, or a proxy on the way, might take these for a way out of the address.
        plain = urllib.parse.unquote(rest)
        if not plain.isprintable() or "\\" in plain or {".", ".."} & set(plain.split("/")):
            return None
        return self._routes[int(match[1])], rest, query

    def note(self, fault: FactoryError) -> None:
        """Remember the first failure."""
        self.fault = self.fault or fault


class _Server(socketserver.ThreadingMixIn, HTTPServer):
    """Serves a socket that somebody else made, in the sandbox."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, relay: Relay) -> None:
        super().__init__(("127.0.0.1", 0), _Handler, bind_and_activate=False)
        self.socket.close()
        self.relay = relay
        self._serving = False
        self._lock = threading.Lock()
        self._ended = False

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
        """A job went away, or what it says is no HTTP: its own affair."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = _PATIENCE
    server: _Server

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  # as its parent has it
        """Nothing: the job tells what it does."""

    def _serve(self) -> None:
        relay = self.server.relay
        body = self._question()
        found = relay.find(self.path)
        if body is None or found is None:
            self._refuse(403, "nothing is there for a sandbox")
            return
        route, path, query = found
        headers = {name: self.headers[name] for name in (*_ASKS, *_ASKS_TOO) if name in self.headers}
        begun = False
        try:
            with route.reply(Asked(self.command, path, query, headers, body)) as reply:
                begun = True
                self._answer(reply)
        except FactoryError as fault:
            if not isinstance(fault, Gone):
                relay.note(fault)
            if begun:
                self.close_connection = True
            else:
                self._refuse(404 if isinstance(fault, Gone) else 502, fault.message)

    do_GET = do_HEAD = do_POST = _serve  # noqa: N815

    def _question(self) -> bytes | None:
        """The body of a request; None where there is too much of it."""
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return self._chunks()
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > _MAX_QUESTION:
            return None
        return self.rfile.read(int(length))

    def _chunks(self) -> bytes | None:
        body = b""
        while size := int(self.rfile.readline(32).partition(b";")[0], 16):
            if len(body) + size > _MAX_QUESTION:
                return None
            body += self.rfile.read(size)
            self.rfile.readline(32)
        self.rfile.readline(32)
        return body

    def _answer(self, reply: Reply) -> None:
        whole = self.command == "HEAD" or reply.status in (204, 304)
        chunked = not whole and reply.length is None
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
            return
        for piece in () if whole else reply.body:
            if not self._send(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece):
                return
        if chunked:
            self._send(b"0\r\n\r\n")

    def _send(self, data: bytes) -> bool:
        """Whether the job took it."""
        try:
            self.wfile.write(data)
        except OSError:
            self.close_connection = True
            return False
        return True

    def _refuse(self, status: int, reason: str) -> None:
        self.close_connection = True
        said = reason.encode()
        self._answer(Reply(status, {"Content-Type": "text/plain; charset=utf-8"}, (said,), len(said)))
