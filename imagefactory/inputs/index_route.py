"""An index of Python packages as a sandbox sees it."""

from __future__ import annotations

import contextlib
import json
import re
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from imagefactory.errors import Gone
from imagefactory.inputs.index import project_page
from imagefactory.inputs.protocol import Means
from imagefactory.sandbox import Asked, Passing, Reply

if TYPE_CHECKING:
    from pypi_simple import DistributionPackage

_JSON = "application/vnd.pypi.simple.v1+json"  # PEP 691
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PAGES, _FILES = "simple", "files"


@dataclass
class IndexRoute:
    """An index as a sandbox sees it: its pages, as JSON, and the files that they name, at addresses of ours.

    What it said of each file is kept here, so that nobody in the sandbox can say anything else of it.
    """

    home: str
    what: str
    means: Means
    seen: dict[str, dict[str, DistributionPackage]] = field(default_factory=dict)

    @contextlib.contextmanager
    def reply(self, asked: Asked) -> Iterator[Reply]:
        """A page, ``simple/<name>/``, or a file, ``files/<name>/<file>``. Raises Gone, or a kind of
        BuildFailed.
        """
        kind, _, rest = urllib.parse.unquote(asked.path).partition("/")
        name, _, filename = rest.partition("/")
        if kind == _PAGES and name and not filename and re.fullmatch(r"[A-Za-z0-9._-]+", name):
            page = self._page(canonicalize_name(name))
            yield Reply(200, {"Content-Type": _JSON}, (page,), len(page))
            return
        of_metadata = filename.removesuffix(".metadata")
        file = self.file(name, filename) or self.file(name, of_metadata)
        if kind != _FILES or file is None:
            raise Gone(f"{self.what}: there is no {asked.path} in the index")
        url = file.url if filename == file.filename else file.metadata_url
        home = self.means.site.addresses(f"{self.home}/{name}/")[0].url
        passing = Passing(self.means.web, url, f"{self.what}: {filename}", named_by=home)
        with passing.reply(Asked(asked.method, "", "", asked.headers)) as reply:
            yield reply

    def file(self, name: str, filename: str) -> DistributionPackage | None:
        """What the index said of a file; None where it was not asked, or has no such file."""
        return self.seen.get(canonicalize_name(name), {}).get(filename)

    def sha256(self, name: str, filename: str) -> str:
        """The sha256 that the index gives of a file; empty where it gives none."""
        file = self.file(name, filename)
        digest = (file.digests.get("sha256") or "").lower() if file else ""
        return digest if _SHA256.fullmatch(digest) else ""

    def _page(self, name: str) -> bytes:
        page = project_page(name, self.home, self.what, self.means)
        files = self.seen[name] = {file.filename: file for file in page.packages if _is_plain(file)}
        rows = [_row(name, file) for file in files.values()]
        return json.dumps(
            {"meta": {"api-version": "1.1"}, "name": name, "versions": [], "files": rows}
        ).encode()


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


def _is_plain(file: DistributionPackage) -> bool:
    """Whether its name is one of a file, and it lies at an address of HTTP(S)."""
    name = file.filename
    printable = name.isprintable() and not set(name) & set("/\\?#%") and name not in ("", ".", "..")
    return printable and urllib.parse.urlsplit(file.url).scheme in ("http", "https")
