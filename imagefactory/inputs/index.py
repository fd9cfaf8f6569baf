"""Indexes of Python packages: which one is the usual one, and where one says that a file is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from imagefactory.errors import Gone
from imagefactory.inputs.mirrors import from_mirrors
from imagefactory.inputs.protocol import Means
from imagefactory.model.recipe import PipIndex
from imagefactory.system.site import Address

if TYPE_CHECKING:
    from pypi_simple import ProjectPage


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
    from pypi_simple import ACCEPT_ANY, ProjectPage

    home = indexes[index].url.rstrip("/") if index else default_index(means)

    def ask(address: Address) -> ProjectPage:
        answer = means.web.read(address.url, what, {"Accept": ACCEPT_ANY})
        return ProjectPage.from_response(answer, name)

    page = from_mirrors(means.site.addresses(f"{home}/{name}/"), ask, means)
    for package in page.packages:
        if package.filename == filename:
            return package.url
    raise Gone(
        f"{what}: the index has no {filename} any more",
        hint="imagefactory lock --upgrade takes what it has today",
    )
