"""Indexes of Python packages: which one is the usual one, and where one says that a file is."""

from __future__ import annotations

import contextlib
import json
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from imagefactory.errors import BuildFailed, Gone
from imagefactory.inputs.mirrors import from_mirrors
from imagefactory.inputs.protocol import Means
from imagefactory.model.recipe import PipIndex
from imagefactory.sandbox import Asked, Reply, route_to
from imagefactory.system.site import Address

if TYPE_CHECKING:
    from pypi_simple import DistributionPackage, ProjectPage

_JSON = "application/vnd.pypi.simple.v1+json"  # PEP 691
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PAGES, _FILES = "simple", "files"


def client_default() -> str:
    """The index that pip and uv use where nobody names one."""
    from pypi_simple import PYPI_SIMPLE_ENDPOINT  # slow to import, and few commands need it

    return PYPI_SIMPLE_ENDPOINT.rstrip("/")


def default_index(means: Means) -> str:
    """The usual index: the site's, or the clients' own default."""
    return (means.site.python_index or client_default()).rstrip("/")


def index_of(name: str, indexes: Mapping[str, PipIndex]) -> str:
    """The recipe's name of the index that a package comes from; empty for the usual one."""
    wanted = canonicalize_name(name)
    homes = (key for key, index in indexes.items() if wanted in map(canonicalize_name, index.packages))
    return next(homes, "")


def file_address(
    name: str, filename: str, index: str, indexes: Mapping[str, PipIndex], what: str, means: Means
) -> str:
    """Where the index says that a file is (PEP 503, PEP 691). Raises Gone, or another kind of BuildFailed."""
    home = indexes[index].url.rstrip("/") if index else default_index(means)
    files = files_of(name, home, what, means)
    if filename not in files:
        raise Gone(
            f"{what}: the index has no {filename} any more",
            hint="imagefactory lock --upgrade takes what it has today",
        )
    return files[filename].url


def files_of(name: str, home: str, what: str, means: Means) -> dict[str, DistributionPackage]:
    """The files of a project by name, as the index at ``home`` has them today.

    Left out is what lies at no address of HTTP(S), or has a name that is none of a file. Raises Gone, or
    another kind of BuildFailed.
    """
    from pypi_simple import ACCEPT_ANY, ProjectPage

    def ask(address: Address) -> ProjectPage:
        answer = means.web.read(address.url, what, {"Accept": ACCEPT_ANY})
        try:
            return ProjectPage.from_response(answer, name)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise BuildFailed(
                f"{what}: the index's page of {name} is none that can be read (PEP 503, PEP 691)",
                hint="check 'python_index' in site.yaml, or the index in the recipe, with a browser",
            ) from None

    page = from_mirrors(means.site.addresses(f"{home}/{name}/"), ask, means)
    return {file.filename: file for file in page.packages if _is_plain(file)}


def _is_plain(file: DistributionPackage) -> bool:
    name = file.filename
    printable = name.isprintable() and not set(name) & set("/\\?#%") and name not in ("", ".", "..")
    return printable and urllib.parse.urlsplit(file.url).scheme in ("http", "https")


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
        passing = route_to(url, self.means.web, f"{self.what}: {filename}", elsewhere=True)
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
        files = self.seen[name] = files_of(name, self.home, self.what, self.means)
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
