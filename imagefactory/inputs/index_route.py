"""An index of Python packages as a sandbox sees it."""

from __future__ import annotations

import contextlib
import json
import re
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from imagefactory.errors import BuildFailed, Gone
from imagefactory.inputs.index import is_followed, project_page
from imagefactory.inputs.protocol import Means
from imagefactory.sandbox import Passing, Question, Reply
from imagefactory.system.redact import redact

if TYPE_CHECKING:
    from pypi_simple import DistributionPackage

_JSON = "application/vnd.pypi.simple.v1+json"  # PEP 691
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PAGES, _FILES = "simple", "files"
_MAX_METADATA = 32 << 20  # bytes of what a file says of itself, beside it
_MAX_WORDS = 200
_MAX_SEEN = 1_000_000  # files and pages that are kept
_MAX_LETTERS = 1 << 28  # of their names and addresses


@dataclass(frozen=True, slots=True)
class SeenFile:
    """What is kept of a file that an index names; ``named_by`` is the address that did."""

    filename: str
    url: str
    sha256: str
    size: int | None
    has_metadata: bool
    named_by: str

    @property
    def metadata_url(self) -> str:
        """Where that lies which it says of itself (PEP 658)."""
        parts = urllib.parse.urlsplit(self.url)
        return parts._replace(path=f"{parts.path}.metadata", fragment="").geturl()


@dataclass
class IndexRoute:
    """An index as a sandbox sees it: its pages, as JSON, and the files that they name, at addresses of ours.

    What it said of each file is kept here, so that nobody in the sandbox can say anything else of it.
    """

    home: str
    what: str
    means: Means
    seen: dict[str, dict[str, SeenFile]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    """By the name of a project: why a file of its page is none."""
    _kept: Counter[str] = field(default_factory=Counter)

    @contextlib.contextmanager
    def reply(self, asked: Question) -> Iterator[Reply]:
        """A page, ``simple/<name>/``, or a file, ``files/<name>/<file>``. Raises Gone, or a kind of
        BuildFailed.
        """
        if asked.method not in ("GET", "HEAD"):
            raise Gone(f"{self.what}: an index is only read")
        kind, _, rest = urllib.parse.unquote(asked.path).partition("/")
        name, _, filename = rest.partition("/")
        if kind == _PAGES and name and not filename and re.fullmatch(r"[A-Za-z0-9._-]+", name):
            page = self._page(canonicalize_name(name))
            yield Reply(200, {"Content-Type": _JSON}, (page,), len(page))
            return
        of_metadata = filename.removesuffix(".metadata")
        file = self.file(name, filename) or self.file(name, of_metadata)
        if kind != _FILES or file is None or (filename != file.filename and not file.has_metadata):
            raise Gone(f"{self.what}: there is no {asked.path} in the index")
        url = file.url if filename == file.filename else file.metadata_url
        passing = Passing(self.means.web, url, f"{self.what}: {filename}", named_by=file.named_by)
        with passing.reply(Question(asked.method, "", "", asked.headers)) as reply:
            yield reply if filename == file.filename else _bounded(reply, f"{self.what}: {redact(url)}")

    def shown(self, path: str) -> str:
        """The page's or the file's own address."""
        kind, _, rest = urllib.parse.unquote(path).partition("/")
        name, _, filename = rest.partition("/")
        file = self.file(name, filename) or self.file(name, filename.removesuffix(".metadata"))
        if kind == _FILES and file:
            return file.url if filename == file.filename else file.metadata_url
        return self.means.site.addresses(f"{self.home}/{rest}" if kind == _PAGES else self.home)[0].url

    def file(self, name: str, filename: str) -> SeenFile | None:
        """What the index said of a file; None where it was not asked, or has no such file."""
        return self.seen.get(canonicalize_name(name), {}).get(filename)

    def sha256(self, name: str, filename: str) -> str:
        """The sha256 that the index gives of a file; empty where it gives none."""
        file = self.file(name, filename)
        return file.sha256 if file else ""

    def _page(self, name: str) -> bytes:
        page, by = project_page(name, self.home, self.what, self.means)
        for why in filter(None, map(_refused, page.packages)):
            self.left_out.setdefault(name, why)
            self.means.log.line(f"{self.what}: {name}: {why}")
        files = {file.filename: file for file in page.packages if not _refused(file)}
        self._keep(name, {filename: as_seen(file, by) for filename, file in files.items()})
        rows = [_row(name, file) for file in files.values()]
        return json.dumps(
            {"meta": {"api-version": "1.1"}, "name": name, "versions": [], "files": rows}
        ).encode()

    def _keep(self, name: str, files: dict[str, SeenFile]) -> None:
        """Instead of what an earlier page of the project said."""
        self._kept.subtract(_weight(name, self.seen[name]) if name in self.seen else {})
        self.seen[name] = files
        self._kept.update(_weight(name, files))
        if self._kept["files"] > _MAX_SEEN or self._kept["letters"] > _MAX_LETTERS:
            del self.seen[name]
            self._kept.subtract(_weight(name, files))
            raise BuildFailed(
                f"{self.what}: the pages of {redact(self.home)} name more than {_MAX_SEEN} files, "
                f"or files with more than {_MAX_LETTERS >> 20} MiB of names",
                hint="name fewer packages at once, or a mirror in site.yaml",
            )


def _weight(name: str, files: dict[str, SeenFile]) -> dict[str, int]:
    letters = sum(len(file.filename) + len(file.url) for file in files.values())
    return {"files": 1 + len(files), "letters": len(name) + letters}


def as_seen(file: DistributionPackage, by: str) -> SeenFile:
    """What is kept of it."""
    digest = (file.digests.get("sha256") or "").lower()
    return SeenFile(
        file.filename,
        file.url,
        digest if _SHA256.fullmatch(digest) else "",
        file.size,
        bool(file.has_metadata),
        by,
    )


def _row(name: str, file: DistributionPackage) -> dict[str, Any]:
    # Below the page's own address, simple/<name>/.
    place = f"../../{_FILES}/{name}/{urllib.parse.quote(file.filename)}"
    row: dict[str, Any] = {"filename": file.filename, "url": place, "hashes": dict(file.digests)}
    optional = {
        "requires-python": file.requires_python,
        "yanked": (file.yanked_reason or True) if file.is_yanked else None,
        "core-metadata": (file.metadata_digests or True) if file.has_metadata else None,
        "size": file.size,
        "upload-time": file.upload_time.isoformat() if file.upload_time else None,
    }
    return row | {key: value for key, value in optional.items() if value is not None}


def _refused(file: DistributionPackage) -> str:
    """Why it is no file to fetch: its name is that of none, or it lies at no address of HTTP(S)."""
    name = file.filename
    if not name.isprintable() or set(name) & set("/\\?#%") or name in ("", ".", ".."):
        return f"no file can be called {name[:_MAX_WORDS]!r}"
    if not is_followed(file.url):
        place = redact(file.url[:_MAX_WORDS])
        return f"the index says that {name} is at {place}, and only http and https are followed"
    return ""


def _bounded(reply: Reply, what: str) -> Reply:
    def pieces() -> Iterator[bytes]:
        size = 0
        for piece in reply.body:
            size += len(piece)
            if size > _MAX_METADATA:
                raise BuildFailed(
                    f"{what} sends more than {_MAX_METADATA} bytes, which no metadata have",
                    hint="ask for another version under 'constraints', or name a mirror in site.yaml",
                )
            yield piece

    return replace(reply, body=pieces())
