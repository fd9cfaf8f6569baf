"""The places that a relay leads to: an address of HTTP(S) and all below it, or a folder."""

from __future__ import annotations

import contextlib
import re
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from imagefactory.errors import BuildFailed, Gone
from imagefactory.system.redact import redact

if TYPE_CHECKING:
    from imagefactory.system.web import Web

_PIECE = 1 << 16
_MAX_WORDS = 8192  # letters of an address, in a message
_SAYS = (
    *("Accept-Ranges", "Cache-Control", "Content-Encoding", "Content-Range", "Content-Type"),
    *("ETag", "Last-Modified"),
)


@dataclass(frozen=True, slots=True)
class Question:
    """What an errand asks for: ``path`` follows the route's own address, as the errand wrote it, without a
    ``/`` first.
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

    def reply(self, asked: Question) -> contextlib.AbstractContextManager[Reply]:
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
    def reply(self, asked: Question) -> Iterator[Reply]:
        """What the upstream answers."""
        from imagefactory.system.answers import pieces_of  # which brings the client of HTTP

        if asked.method == "POST" and not self.posts:
            raise Gone(f"{self.what}: nothing is sent to {redact(self.address)}")
        url = self.shown(asked.path) + (f"?{asked.query}" if asked.query else "")
        with self.web.opened(
            url, self.what, asked.method, asked.headers, asked.body, named_by=self.named_by
        ) as answer:
            headers = {name: answer.headers[name] for name in _SAYS if name in answer.headers}
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
    def reply(self, asked: Question) -> Iterator[Reply]:
        """A file in it, wherever its links lead in it."""
        root = self.folder.resolve()
        try:
            file = (root / urllib.parse.unquote(asked.path)).resolve()
            if not file.is_relative_to(root) or not file.is_file():
                raise Gone(f"{self.what}: there is no file {file}")
            content = file.open("rb")
        except OSError as error:
            raise BuildFailed(
                f"{self.what}: cannot read {self.shown(asked.path)[:_MAX_WORDS]}: {error.strerror}",
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
