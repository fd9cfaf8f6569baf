"""A local upstream: a folder over HTTP or HTTPS, with the faults that real ones have, and a proxy.

Everything listens on 127.0.0.1 alone. A path in the methods below is what follows the address, decoded and
without its query, such as ``/simple/app/``; it may be a pattern, such as ``/pool/*``. ``times`` is how often
something happens; None means always.
"""

from __future__ import annotations

import base64
import contextlib
import email.utils
import fnmatch
import functools
import http.client
import mimetypes
import os
import re
import select
import shutil
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Protocol, Self

HOST = "127.0.0.1"
JSON_INDEX = "index.v1.json"
"""What a folder holds for who asks for the JSON form of a Python package index (PEP 691)."""

_JSON_TYPE = "application/vnd.pypi.simple.v1+json"
_PIECE = 1 << 16
_PATIENCE = 60  # seconds for one read or write, and for one run of git
_FAREWELL = 5  # seconds that connections have to end in when a server closes
_HOP_BY_HOP = frozenset(
    (
        *("connection", "keep-alive", "proxy-authorization", "proxy-connection"),
        *("te", "trailer", "transfer-encoding", "upgrade"),
    )
)
_LEFT = (ConnectionError, TimeoutError, ssl.SSLError)  # the other side went away


class CertificateAuthority(Protocol):
    """Such as ``trustme.CA``."""

    def issue_cert(self, *identities: str) -> Any: ...


@dataclass
class _Fault:
    pattern: str
    times: int | None
    what: Any

    def fits(self, path: str) -> bool:
        return self.times != 0 and (path == self.pattern or fnmatch.fnmatchcase(path, self.pattern))


@dataclass
class _Answer:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | Path = b""
    start: int = 0
    length: int = -1  # all that there is

    def size(self) -> int:
        if self.length >= 0:
            return self.length
        return self.body.stat().st_size if isinstance(self.body, Path) else len(self.body)

    def pieces(self, piece: int) -> Iterator[bytes]:
        left = self.size()
        if isinstance(self.body, bytes):
            content = self.body[self.start : self.start + left]
            yield from (content[i : i + piece] for i in range(0, len(content), piece))
            return
        with self.body.open("rb") as file:
            file.seek(self.start)
            while left > 0 and (data := file.read(min(piece, left))):
                left -= len(data)
                yield data


class _Server(socketserver.ThreadingMixIn, HTTPServer):
    """Ends at once, whatever its connections do: their threads are daemons, and their sockets are closed."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, handler: type[BaseHTTPRequestHandler], tls: ssl.SSLContext | None) -> None:
        super().__init__((HOST, 0), handler)
        self.stopping = threading.Event()
        self._tls = tls
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()
        self._loop = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's own also looks the host's name up: slow
        self.server_name, self.server_port = HOST, self.server_address[1]

    def open(self) -> None:
        self._loop.start()

    def close(self) -> None:
        self.stopping.set()
        if self._loop.is_alive():
            self.shutdown()
            self._loop.join(_FAREWELL)
        self.server_close()
        with self._changed:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._changed.wait_for(lambda: not self._open, _FAREWELL)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        with self._changed:
            self._open.add(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._changed:
                self._open.discard(request)
                self._changed.notify_all()

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self._tls:  # here and not where it accepts: a slow client keeps nobody else waiting
            request.settimeout(_PATIENCE)
            # A handle of its own, so that closing the server still finds the plain one open.
            with self._tls.wrap_socket(request.dup(), server_side=True) as wrapped:
                super().finish_request(wrapped, client_address)
        else:
            super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not self.stopping.is_set() and not isinstance(sys.exception(), _LEFT):
            super().handle_error(request, client_address)


class Upstream:
    """Serves ``folder`` while it is open.

    ``requests`` lists what was asked for, such as ``GET /a.bin`` or ``GET /a.bin bytes=100-``, with the query
    where there is one; ``logins`` who asked, as each request says it. A bare repository ``NAME.git`` is
    served by git's own server for HTTP, or with
    ``smart_git=False`` as plain files (run ``git update-server-info`` there). With ``tls`` it speaks HTTPS,
    and ``names`` are further host names in the certificate.
    """

    def __init__(
        self,
        folder: Path,
        tls: CertificateAuthority | None = None,
        *,
        names: tuple[str, ...] = (),
        smart_git: bool = True,
    ) -> None:
        self.folder = Path(folder).resolve()
        self.requests: list[str] = []
        self.logins: list[str] = []
        self._git = _git_backend() if smart_git else None
        self._lock = threading.Lock()
        self._faults: dict[str, list[_Fault]] = {}
        self._server = _Server(self._handler(), _context(tls, names))
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://{HOST}:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._server.open()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.close()

    def fail(self, path: str, status: int = 503, times: int | None = 2) -> None:
        """Answer with an error."""
        self._add("fail", path, times, status)

    def truncate(self, path: str, at: int = 1000, times: int | None = 1) -> None:
        """Promise the whole size, and close the connection after ``at`` bytes of an answer that is longer."""
        self._add("truncate", path, times, at)

    def replace(
        self, path: str, body: bytes | str, content_type: str = "text/html", times: int | None = None
    ) -> None:
        """Answer with something else, such as the page of a captive portal."""
        data = body.encode() if isinstance(body, str) else body
        self._add("replace", path, times, (data, content_type))

    def slow(self, path: str, bytes_per_second: int, times: int | None = None) -> None:
        """Send no faster than that."""
        self._add("slow", path, times, bytes_per_second)

    def redirect(self, path: str, target: str, times: int | None = None) -> None:
        """Send elsewhere: to another path or another address."""
        self._add("redirect", path, times, target)

    def raw(
        self, path: str, begin: bytes, again: bytes = b"", pause: float = 0.0, times: int | None = None
    ) -> None:
        """Send exactly that, whatever it is, then ``again`` over and over, a ``pause`` before each, until the
        client has enough of it.
        """
        self._add("raw", path, times, (begin, again, pause))

    def require(self, path_prefix: str, user: str, password: str) -> None:
        """Ask for a user name and a password for all paths that begin so."""
        self._add("require", f"{path_prefix}*", None, _basic(user, password))

    def heal(self) -> None:
        """Forget all faults."""
        with self._lock:
            self._faults.clear()

    def _add(self, kind: str, path: str, times: int | None, what: Any) -> None:
        with self._lock:
            self._faults.setdefault(kind, []).append(_Fault(path, times, what))

    def _take(self, kind: str, path: str, below: int | None = None) -> Any:
        """What to do to this request, and ``below`` that number; None where nothing is to be done. Counts."""
        with self._lock:
            # The last one said counts.
            fault = next((f for f in reversed(self._faults.get(kind, ())) if f.fits(path)), None)
            if fault is None or (below is not None and fault.what >= below):
                return None
            if fault.times is not None:
                fault.times -= 1
            return fault.what

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        upstream = self

        class Handler(_UpstreamHandler):
            def __init__(self, *arguments: Any) -> None:
                self.upstream = upstream
                super().__init__(*arguments)

        return Handler

    def _answer(self, path: str, request: _UpstreamHandler, body: bytes) -> _Answer:
        wanted = self._take("require", path)
        if wanted is not None and request.headers.get("Authorization") != wanted:
            return _Answer(401, {"WWW-Authenticate": 'Basic realm="upstream"'}, b"log in first\n")
        status = self._take("fail", path)
        if status is not None:
            return _Answer(status, {"Content-Type": "text/plain"}, b"a fault of this test\n")
        target = self._take("redirect", path)
        if target is not None:
            return _Answer(302, {"Location": target})
        replaced = self._take("replace", path)
        if replaced is not None:
            return _Answer(200, {"Content-Type": replaced[1]}, replaced[0])
        if ".." in path.split("/") or "\0" in path:
            return _Answer(400)
        repository = re.match(r"(/.*?\.git)/", path)
        if self._git and repository and (self.folder / repository[1][1:] / "HEAD").is_file():
            return self._run_git(path, request, body)
        if request.command not in ("GET", "HEAD"):
            return _Answer(405, {"Allow": "GET, HEAD"})
        return self._file(path, request)

    def _file(self, path: str, request: _UpstreamHandler) -> _Answer:
        file, kind = self.folder / path.lstrip("/"), None
        if file.is_dir():
            if not path.endswith("/"):
                return _Answer(301, {"Location": urllib.parse.quote(f"{path}/")})
            folder, file = file, file / "index.html"
            if (folder / JSON_INDEX).is_file() and _JSON_TYPE in request.headers.get("Accept", ""):
                file, kind = folder / JSON_INDEX, _JSON_TYPE
        if not file.is_file():
            return _Answer(404, {"Content-Type": "text/plain"}, b"there is no such file\n")
        found = file.stat()
        headers = {
            "Content-Type": kind or _content_type(file),
            "ETag": f'"{found.st_size:x}-{found.st_mtime_ns:x}"',
            "Last-Modified": email.utils.formatdate(found.st_mtime, usegmt=True),
            "Accept-Ranges": "bytes",
        }
        if _is_known(request.headers, headers):
            return _Answer(304, headers)
        return _part(file, found.st_size, request.headers, headers)

    def _run_git(self, path: str, request: _UpstreamHandler, body: bytes) -> _Answer:
        settings = {"safe.directory": "*", "http.receivepack": "false"}
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_COUNT": str(len(settings)),
            "GIT_PROJECT_ROOT": str(self.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
            "PATH_INFO": path,
            "QUERY_STRING": urllib.parse.urlsplit(request.path).query,
            "REQUEST_METHOD": request.command,
            "REMOTE_ADDR": HOST,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
        }
        for number, (key, value) in enumerate(settings.items()):
            environment |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        assert self._git
        try:
            done = subprocess.run(
                [self._git], input=body, capture_output=True, env=environment, timeout=_PATIENCE, check=False
            )
        except subprocess.TimeoutExpired:
            return _Answer(504, {"Content-Type": "text/plain"}, b"git took too long\n")
        head, separator, content = done.stdout.partition(b"\r\n\r\n")
        if not separator:
            return _Answer(500, {"Content-Type": "text/plain"}, done.stderr)
        lines = (line.partition(":") for line in head.decode("latin-1").splitlines())
        headers = {name.title(): value.strip() for name, _, value in lines}
        status = int(headers.pop("Status", "200").split()[0])
        headers.pop("Content-Length", None)
        return _Answer(status, headers, content)


class _Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = _PATIENCE

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  # as its parent has it
        pass

    def finish(self) -> None:
        with contextlib.suppress(*_LEFT, OSError):
            super().finish()

    def content(self) -> bytes:
        """The body of the request."""
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return b"".join(self._chunks())
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().partition(b";")[0] or b"0", 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():  # trailers
            pass


class _UpstreamHandler(_Quiet):
    upstream: Upstream
    server: _Server

    def _serve(self) -> None:
        body = self.content()
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        seen = " ".join(filter(None, (self.command, self.path, self.headers.get("Range"))))
        with self.upstream._lock:
            self.upstream.requests.append(seen)
            self.upstream.logins.append(self.headers.get("Authorization", ""))
        raw = self.upstream._take("raw", path)
        if raw is not None:
            self._send_raw(*raw)
            return
        answer = self.upstream._answer(path, self, body)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 304:
            self.send_header("Content-Length", str(answer.size()))
        self.end_headers()
        if self.command != "HEAD" and answer.status != 304:
            self._send(answer, path)

    do_GET = do_HEAD = do_POST = _serve  # noqa: N815

    def _send_raw(self, begin: bytes, again: bytes, pause: float) -> None:
        self.close_connection = True
        self.wfile.write(begin)
        while again and not self.server.stopping.wait(pause):
            self.wfile.write(again)

    def _send(self, answer: _Answer, path: str) -> None:
        speed = self.upstream._take("slow", path)
        end = self.upstream._take("truncate", path, below=answer.size())
        sent, began = 0, time.monotonic()
        for piece in answer.pieces(max(1, min(_PIECE, speed // 20)) if speed else _PIECE):
            data = piece if end is None else piece[: end - sent]
            self.wfile.write(data)
            sent += len(data)
            if end is not None and sent >= end:
                self.close_connection = True
                return
            if speed and self.server.stopping.wait(max(0.0, began + sent / speed - time.monotonic())):
                self.close_connection = True
                return
        # Longer than what was there when the size was promised, or shorter: never left hanging.
        self.close_connection = self.close_connection or sent != answer.size()


class Proxy:
    """A forward proxy: plain HTTP, and CONNECT for everything else.

    ``requests`` lists what was asked of it, such as ``GET http://app.test/a`` or ``CONNECT app.test:443``.
    ``hosts`` says where host names really are: by a name that nothing else knows, a test proves that the
    proxy is used. Nothing but 127.0.0.1 is ever reached. With ``user`` and ``password`` it asks for them,
    and ``url`` holds them.
    """

    def __init__(
        self,
        hosts: Mapping[str, str | Upstream] | None = None,
        user: str | None = None,
        password: str = "",
    ) -> None:
        self.requests: list[str] = []
        self._hosts = {name: _port(place) for name, place in (hosts or {}).items()}
        self._wanted = _basic(user, password) if user is not None else None
        self._lock = threading.Lock()
        self._server = _Server(self._handler(), None)
        quoted = [urllib.parse.quote(text, safe="") for text in (user or "", password)]
        login = f"{':'.join(quoted)}@" if user else ""
        self.url = f"http://{login}{HOST}:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._server.open()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(_ProxyHandler):
            def __init__(self, *arguments: Any) -> None:
                self.proxy = proxy
                super().__init__(*arguments)

        return Handler

    def _find(self, host: str | None, port: int) -> int | None:
        """The port on this machine that a host is at; None where it is elsewhere."""
        if host in self._hosts:
            return self._hosts[host]
        return port if host in (HOST, "localhost") else None


class _ProxyHandler(_Quiet):
    proxy: Proxy
    server: _Server

    def _let_in(self) -> bool:
        with self.proxy._lock:
            self.proxy.requests.append(f"{self.command} {self.path}")
        if self.proxy._wanted and self.headers.get("Proxy-Authorization") != self.proxy._wanted:
            self._refuse(407, {"Proxy-Authenticate": 'Basic realm="proxy"'})
            return False
        return True

    def _refuse(self, status: int, headers: Mapping[str, str] | None = None) -> None:
        self.close_connection = True
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": "0", "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()

    def do_CONNECT(self) -> None:
        if not self._let_in():
            return
        host, _, port = self.path.rpartition(":")
        place = self.proxy._find(host, int(port))
        if place is None:
            self._refuse(403)
            return
        try:
            there = socket.create_connection((HOST, place), timeout=_PATIENCE)
        except OSError:
            self._refuse(502)
            return
        with there:
            self.send_response(200, "Connection established")
            self.end_headers()
            self.close_connection = True
            _join(self.connection, there, self.server.stopping)

    def _forward(self) -> None:
        body = self.content()
        if not self._let_in():
            return
        target = urllib.parse.urlsplit(self.path)
        place = self.proxy._find(target.hostname, target.port or 80)
        if place is None or target.scheme != "http":
            self._refuse(403)
            return
        there = http.client.HTTPConnection(HOST, place, timeout=_PATIENCE)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
        path = urllib.parse.urlunsplit(("", "", target.path or "/", target.query, ""))
        try:
            there.request(self.command, path, body or None, headers)
            answer = there.getresponse()
        except (OSError, http.client.HTTPException):
            there.close()
            self._refuse(502)
            return
        with contextlib.closing(there):
            self._pass_on(answer)

    do_GET = do_HEAD = do_POST = _forward  # noqa: N815

    def _pass_on(self, answer: http.client.HTTPResponse) -> None:
        self.close_connection = True  # which also ends an answer that is shorter than promised
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        with contextlib.suppress(http.client.IncompleteRead):
            while piece := answer.read1(_PIECE):
                self.wfile.write(piece)


def _join(one: socket.socket, other: socket.socket, stopping: threading.Event) -> None:
    """Carry bytes both ways until both have ended, or the server stops."""
    ends = {one: other, other: one}
    while ends and not stopping.is_set():
        ready, _, _ = select.select(list(ends), [], [], 0.1)
        for end in ready:
            try:
                data = end.recv(_PIECE)
                if data:
                    ends[end].sendall(data)
                    continue
                ends.pop(end).shutdown(socket.SHUT_WR)
            except OSError:
                return


def _port(place: str | Upstream) -> int:
    port = urllib.parse.urlsplit(place if isinstance(place, str) else place.url).port
    assert port, place
    return port


def _context(authority: CertificateAuthority | None, names: tuple[str, ...]) -> ssl.SSLContext | None:
    if authority is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST, "localhost", *names).configure_cert(context)
    return context


def _basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


@functools.cache
def _git_backend() -> str | None:
    """Git's program that serves HTTP; None where there is none."""
    if not shutil.which("git"):
        return None
    found = subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=False).stdout.strip()
    program = Path(found) / "git-http-backend"
    return str(program) if found and program.is_file() else None


def _content_type(file: Path) -> str:
    kind, encoding = mimetypes.guess_type(file.name)
    # An archive is sent as it is: its compression belongs to the file and not to how it is sent.
    return "application/octet-stream" if encoding else kind or "application/octet-stream"


def _is_known(asked: Message, has: Mapping[str, str]) -> bool:
    """Whether the client says that it has the same already."""
    tags = asked.get("If-None-Match")
    if tags is not None:
        return tags.strip() == "*" or has["ETag"] in re.findall(r'"[^"]*"', tags)
    since = _date(asked.get("If-Modified-Since"))
    modified = _date(has["Last-Modified"])
    return since is not None and modified is not None and modified <= since


def _date(text: str | None) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(text).timestamp() if text else None
    except ValueError:
        return None


def _part(file: Path, size: int, asked: Message, headers: dict[str, str]) -> _Answer:
    """The part of a file that is asked for: one range, or all of it."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", asked.get("Range", "").replace(" ", ""))
    unless = asked.get("If-Range")
    same = unless is None or unless in (headers["ETag"], headers["Last-Modified"])
    if not match or not any(match.groups()) or not same:
        return _Answer(200, headers, file, 0, size)
    if match[1]:
        start, end = int(match[1]), min(int(match[2] or size), size - 1)
        if match[2] and int(match[2]) < start:  # no range at all, by the standard
            return _Answer(200, headers, file, 0, size)
    else:
        start, end = max(0, size - int(match[2])), size - 1
    if start >= size or end < start:
        return _Answer(416, {**headers, "Content-Range": f"bytes */{size}"})
    part = {**headers, "Content-Range": f"bytes {start}-{end}/{size}"}
    return _Answer(206, part, file, start, end - start + 1)
