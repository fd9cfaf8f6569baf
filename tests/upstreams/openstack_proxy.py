"""What stands between the factory and a real Glance, and meddles with what goes through."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

_PIECE = 1 << 16
_HOP = frozenset(("connection", "transfer-encoding", "keep-alive"))


class Meddler:
    """Passes all on to ``glance`` while it is open; ``requests`` lists what, such as ``GET /v2/images``.

    ``flip``: a byte of each file that is sent becomes another. ``cut``: after so many bytes of a file the
    connection is closed. ``answer``: what is changed in each image that Glance tells of. ``refuse``: these
    methods are answered with that status, and with ``words``.
    """

    def __init__(self, glance: str) -> None:
        self.requests: list[str] = []
        self.flip = False
        self.cut = 0
        self.answer: dict[str, Any] = {}
        self.refuse: dict[str, int] = {}
        self.words = "no"
        place = urllib.parse.urlsplit(glance)
        self._glance = (str(place.hostname), int(place.port or 80))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        meddler = self

        class Handler(_Handler):
            def __init__(self, *arguments: Any) -> None:
                self.meddler = meddler
                super().__init__(*arguments)

        return Handler

    def body(self, file: Any, length: int) -> Iterator[bytes]:
        """What was sent, as it goes on. Raises ConnectionError where it is cut."""
        went, cut = 0, self.cut if length > _PIECE else 0
        while went < length:
            piece = file.read(min(_PIECE, length - went))
            if not piece or (cut and went >= cut):
                raise ConnectionError
            if self.flip and length > _PIECE and went == 0:
                piece = piece[:-1] + bytes([piece[-1] ^ 1])
            went += len(piece)
            yield piece

    def changed(self, body: bytes) -> bytes:
        """What Glance told of an image, as it is told."""
        if not self.answer or b'"status"' not in body:
            return body
        return json.dumps({**json.loads(body), **self.answer}).encode()

    def passed_on(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(*self._glance, timeout=60)


class _Handler(BaseHTTPRequestHandler):
    meddler: Meddler

    def _pass(self) -> None:
        self.meddler.requests.append(f"{self.command} {self.path}")
        self.close_connection = True
        status = self.meddler.refuse.get(self.command)
        if status:
            with contextlib.suppress(ConnectionError):  # it may still be sending
                self.send_error(status, explain=self.meddler.words)
            return
        with contextlib.closing(self.meddler.passed_on()) as glance:
            length = int(self.headers.get("Content-Length") or 0)
            glance.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _HOP:
                    glance.putheader(name, value)
            glance.endheaders()
            try:
                for piece in self.meddler.body(self.rfile, length):
                    glance.send(piece)
            except BrokenPipeError:
                pass  # it has answered already
            except ConnectionError:
                return
            answer = glance.getresponse()
            body = self.meddler.changed(answer.read()) if self.command != "HEAD" else b""
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in (*_HOP, "content-length"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Nothing: tests look at ``requests``."""


for _method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
    setattr(_Handler, f"do_{_method}", _Handler._pass)
