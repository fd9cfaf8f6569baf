"""Connections that bound what a server may make us wait for, or read, before its answer goes on."""

from __future__ import annotations

import http.client
import io
import re
import time
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

SLOWEST = 1024  # bytes per second, as long as PACE_SECONDS; only the time counts that we wait for them
PACE_SECONDS = 60.0
HEAD_BYTES = 128 << 10  # of all that is no content: headers, and what stands between two pieces of content

_NUMBER = re.compile(r"\s*[0-9]{1,18}\s*")


class TooSlow(Exception):
    """A server sends a byte now and then."""


class Flood(Exception):
    """A server sends headers, or trailers, without end."""


class _Flow(io.RawIOBase):
    """What comes from a socket, as long as it comes fast enough and is not more than is allowed."""

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw
        self._allowed = HEAD_BYTES
        self._waited, self._came = 0.0, 0

    def readable(self) -> bool:
        return True

    def allow(self, count: int) -> None:
        """So many bytes may come from now on."""
        self._allowed = count

    def readinto(self, buffer: Any) -> int | None:
        if self._allowed <= 0:
            raise Flood("sends headers without end")
        began = time.monotonic()
        count = self._raw.readinto(buffer) or 0
        self._waited += time.monotonic() - began
        self._came += count
        self._allowed -= count
        if self._waited >= PACE_SECONDS:
            if self._came < SLOWEST * self._waited:
                raise TooSlow(f"sends too slowly: {self._came} bytes in {self._waited:.0f} seconds")
            self._waited, self._came = 0.0, 0
        return count

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


def _peer(sock: Any) -> str:
    """The address at the other end; empty where that cannot be said."""
    try:
        return str(sock.getpeername()[0])
    except (OSError, AttributeError, LookupError):
        return ""


class _Answer(http.client.HTTPResponse):
    """An answer that is read through a flow: the library's own only bounds one line, and one wait."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.peer = _peer(arguments[0] if arguments else more["sock"])
        self._flow = _Flow(self.fp.detach())
        self.fp = io.BufferedReader(self._flow)

    def begin(self) -> None:
        self._flow.allow(HEAD_BYTES)  # also of answers that only say that more will come, one after another
        super().begin()
        # Found wrong later, it would leave the connection open.
        if any(not _NUMBER.fullmatch(length) for length in self.headers.get_all("Content-Length", ())):
            raise http.client.HTTPException("the length that it announces is no number")

    def read(self, amt: int | None = None) -> bytes:
        self._flow.allow(HEAD_BYTES + (amt or 0))
        return super().read(amt)

    def read1(self, n: int = -1) -> bytes:
        self._flow.allow(HEAD_BYTES + max(n, 0))
        return super().read1(n)


class _Plain(HTTPConnection):
    response_class = _Answer


class _Secure(HTTPSConnection):
    response_class = _Answer


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Secure


POOLS = {"http": _PlainPool, "https": _SecurePool}
"""For urllib3's managers of connections."""
