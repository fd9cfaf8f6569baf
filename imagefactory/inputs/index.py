"""Indexes of Python packages: which one is the usual one, and where one says that a file is."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from imagefactory.errors import BuildFailed, Gone
from imagefactory.inputs.mirrors import from_mirrors
from imagefactory.inputs.protocol import Means
from imagefactory.model.recipe import PipIndex
from imagefactory.system.redact import redact
from imagefactory.system.site import Address

if TYPE_CHECKING:
    from pypi_simple import ProjectPage

_MAX_PAGE = 32 << 20  # bytes
_MAX_FILES = 100_000
_MAX_TAGS = 250_000  # of a page of HTML, each of which takes a thousand bytes of memory
_MAX_WORDS = 200  # letters of what an index says, in a message


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
) -> tuple[str, str]:
    """Where the index says that a file is (PEP 503, PEP 691), and which address said so. Raises
    Gone, or another kind of BuildFailed.
    """
    home = indexes[index].url.rstrip("/") if index else default_index(means)
    page, by = project_page(name, home, what, means, filename)
    for package in page.packages:
        if package.filename == filename:
            if not is_followed(package.url):
                raise BuildFailed(
                    f"{what}: the index says that it is at {redact(package.url[:_MAX_WORDS])}, "
                    "and only http and https are followed"
                )
            return package.url, by
    raise Gone(
        f"{what}: the index has no {filename} any more",
        hint="imagefactory lock --upgrade takes what it has today",
    )


def is_followed(url: str) -> bool:
    """Whether it is an address of HTTP(S)."""
    try:
        parts = urllib.parse.urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # also of the port
        return False


def project_page(
    name: str, home: str, what: str, means: Means, filename: str | None = None
) -> tuple[ProjectPage, str]:
    """What the index at ``home`` says of a project, or of one file of it, and which address said so.
    Raises Gone, or another kind of BuildFailed.
    """
    from pypi_simple import ACCEPT_ANY

    def ask(address: Address) -> tuple[ProjectPage, str]:
        answer = means.web.read(address.url, what, {"Accept": ACCEPT_ANY}, most=_MAX_PAGE)
        return _page(answer, name, filename, f"{what}: {redact(address.url)}"), address.url

    return from_mirrors(means.site.addresses(f"{home}/{name}/"), ask, means)


def _page(answer: Any, name: str, filename: str | None, where: str) -> ProjectPage:
    """What an index says of a project, or of the one file of it."""
    from pypi_simple import ProjectPage, UnsupportedRepoVersionError

    unreadable = (ValueError, TypeError, LookupError, AttributeError, RecursionError)
    try:
        if "json" in answer.headers.get("Content-Type", ""):
            # What is wrong with each of the others would be noted, and there may be millions.
            said = answer.json()
            files = [file for file in said["files"] if isinstance(file, dict)]
            if filename is not None:
                files = [file for file in files if file.get("filename") == filename]
            if len(files) > _MAX_FILES:
                raise ValueError(f"it has more than {_MAX_FILES} files")
            said = {**said, "files": files}
            return ProjectPage.from_json_data({**said, "versions": None}, answer.url)
        if answer.content.count(b"<") > _MAX_TAGS:
            raise ValueError(f"it has more than {_MAX_TAGS} tags")
        return ProjectPage.from_response(answer, name)
    except (*unreadable, UnsupportedRepoVersionError) as error:
        why = str(error).partition("\n")[0][:_MAX_WORDS]
        raise BuildFailed(
            f"{where} is no page of an index: {redact(why)}",
            hint="look at it with a browser, or name a mirror in site.yaml",
        ) from None
