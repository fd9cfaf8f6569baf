"""The one way out of a sandbox: a server on its loopback interface that asks upstreams for it.

It leads to the places that it was given, and nowhere else. Proxies, certificates and passwords stay on this
side, so that nothing in the sandbox has them in reach.
"""

from __future__ import annotations

import contextlib
import itertools
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

from imagefactory.errors import BuildFailed, FactoryError, Gone, NetworkFault
from imagefactory.system.redact import redact
from imagefactory.system.web import Web, pieces_of

PORT = 8000
ADDRESS = f"http://127.0.0.1:{PORT}"
"""Where a job finds what its relay leads to. Each sandbox has a loopback interface of its own."""
_PIECE = 1 << 16
_PATIENCE = 60  # seconds that a job may take to ask, or to take what it asked for
_MAX_QUESTION = 64 << 20  # bytes of all that is asked at once
_MAX_CONNECTIONS = 128
_MAX_FAULTS = 100
_MAX_ADDRESS = 8192
_ASKS = ("Accept", "Accept-Encoding", "Content-Encoding", "Content-Type", "Git-Protocol", "If-Modified-Since")
_ASKS_TOO = ("If-None-Match", "If-Range", "Range")
_SAYS = ("Accept-Ranges", "Cache-Control", "Content-Encoding", "Content-Range", "Content-Type", "ETag")
_SAYS_TOO = ("Last-Modified",)
_LENGTH = re.compile(r"[0-9]{1,9}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r\n")
# An address of ours as a job may write it, and apt as the name of a file.
_OURS = re.compile(
    rf"(?:http://|/\S*/)?127\.0\.0\.1:{PORT}(?!\d)(?:([/_])(\d{{1,4}})(?:\1([^\s'\"`<>()]*))?)?"
    rf"| *\[IP: 127\.0\.0\.1 {PORT}\]"
)


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

    def shown(self, path: str) -> str:
        """The real address of what is at ``path`` there."""


@dataclass(frozen=True)
class Passing:
    """Everything below one address of HTTP(S), as it is. ``named_by`` is the address of who named it, if it
    is none of the site's: see ``Web.opened``. With ``posts`` more can be sent there than an address.
    """

    web: Web
    address: str
    what: str
    named_by: str = ""
    posts: bool = False

    @contextlib.contextmanager
    def reply(self, asked: Asked) -> Iterator[Reply]:
        """What the upstream answers."""
        if asked.method == "POST" and not self.posts:
            raise Gone(f"{self.what}: nothing is sent to {redact(self.address)}")
        url = self.shown(asked.path) + (f"?{asked.query}" if asked.query else "")
        with self.web.opened(
            url, self.what, asked.method, asked.headers, asked.body, named_by=self.named_by
        ) as answer:
            headers = {name: answer.headers[name] for name in (*_SAYS, *_SAYS_TOO) if name in answer.headers}
            length = answer.headers.get("Content-Length", "")
            size = int(length) if re.fullmatch(r"\d{1,18}", length) else None
            yield Reply(answer.status_code, headers, pieces_of(answer), size)

    def shown(self, path: str) -> str:
        """Below the address."""
        return f"{self.address.rstrip('/')}/{path}" if path else self.address


@dataclass(frozen=True)
class Folder:
    """A folder of this machine."""

    folder: Path
    what: str

    @contextlib.contextmanager
    def reply(self, asked: Asked) -> Iterator[Reply]:
        """A file in it, wherever its links lead in it."""
        root = self.folder.resolve()
        try:
            file = (root / urllib.parse.unquote(asked.path)).resolve()
            if not file.is_relative_to(root) or not file.is_file():
                raise Gone(f"{self.what}: there is no file {file}")
            content = file.open("rb")
        except OSError as error:
            raise BuildFailed(
                f"{self.what}: cannot read {self.shown(asked.path)[:_MAX_ADDRESS]}: {error.strerror}",
                hint="check the folder that site.yaml names",
            ) from None
        with content:
            yield Reply(200, {}, iter(lambda: content.read(_PIECE), b""), file.stat().st_size)

    def shown(self, path: str) -> str:
        """In the folder."""
        return str(self.folder / urllib.parse.unquote(path).lstrip("/"))


def route_to(address: str, web: Web, what: str, *, posts: bool = False) -> Route:
    """The route to an address of HTTP(S), or to a folder by ``file:///``."""
    if address.startswith("file:"):
        return Folder(Path(urllib.request.url2pathname(urllib.parse.urlsplit(address).path)), what)
    return Passing(web, address, what, posts=posts)


class Relay:
    """Leads from a sandbox to the routes that were added, each at ``/<number>/``."""

    def __init__(self) -> None:
        self._routes: list[Route] = []
        self._faults: dict[str, FactoryError] = {}
        self._asked: dict[int, str] = {}
        self._numbers = itertools.count()

    @property
    def fault(self) -> FactoryError | None:
        """The first failure of an upstream, in our words, but for those of what it gave when it was asked
        again; None where all answered.
        """
        return next(iter(list(self._faults.values())), None)

    def add(self, route: Route) -> str:
        """The address of a route in the sandbox, without a ``/`` at its end."""
        self._routes.append(route)
        return f"{ADDRESS}/{len(self._routes) - 1}"

    @contextlib.contextmanager
    def serving(self, control: socket.socket) -> Iterator[None]:
        """Serve the socket that comes through ``control``, while the block runs."""
        self._faults.clear()
        self._asked.clear()
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

    def readable(self, text: str) -> str:
        """What a job says, with real addresses in place of those that it knows."""

        def shown(match: re.Match[str]) -> str:
            sign, number, path = match.groups()
            if number is None or int(number) >= len(self._routes):
                return "" if match[0].endswith("]") else "the relay"
            path = path or ""
            return self._routes[int(number)].shown(path.replace("_", "/") if sign == "_" else path)

        return _OURS.sub(shown, text) if "127.0.0.1" in text else text

    def waits_for(self) -> str:
        """What has been asked for longest, and is still being answered; empty where nothing is."""
        return next(iter(list(self._asked.values())), "")

    @contextlib.contextmanager
    def asking(self, address: str) -> Iterator[None]:
        """Remember that an address is asked, while the block runs."""
        number = next(self._numbers)
        self._asked[number] = address
        try:
            yield
        finally:
            self._asked.pop(number, None)

    def note(self, target: str, fault: FactoryError | None) -> None:
        """Remember the first failure of each target, until it is answered: ``fault`` is None then."""
        if fault is None:
            self._faults.pop(target, None)
        elif len(self._faults) < _MAX_FAULTS:
            self._faults.setdefault(target, fault)


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
        """A job went away, or what it says is no HTTP: its own affair."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = _PATIENCE
    server: _Server

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  # as its parent has it
        """Nothing: the job tells what it does."""

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
        headers = {name: self.headers[name] for name in (*_ASKS, *_ASKS_TOO) if name in self.headers}
        asked = Asked(self.command, path, query, headers, body if self.command == "POST" else b"")
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
                self._refuse(status, fault.message)

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
        """Whether the job took all of it."""
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
        """Whether the job took it."""
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
