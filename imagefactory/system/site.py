"""Site settings: proxies, certificates, mirrors, the store. They shape how things are fetched, never what."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from imagefactory.errors import BadInput
from imagefactory.model.settings import Proxies, SiteFile, StandIn
from imagefactory.system.redact import keep_address, keep_variables
from imagefactory.system.workspace import Workspace
from imagefactory.yamlfiles import load

FILE = "site.yaml"
_PROXIES = ("http_proxy", "https_proxy", "no_proxy")
# Other programs' variables hold where our own settings say nothing.
_CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_INDEX_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")


@dataclass(frozen=True, slots=True)
class Address:
    """Where something is really fetched from: ``url``; a ``stand_in`` serves other content there."""

    url: str
    stand_in: StandIn | None = None


@dataclass(frozen=True)
class Site:
    """The settings in force. ``file`` is where they stand, if anywhere."""

    settings: SiteFile = field(default_factory=SiteFile)
    file: Path | None = None
    proxies: Mapping[str, str] = field(default_factory=dict)
    ca_bundle: Path | None = None
    python_index: str | None = None
    store: Path = Path("store")

    def addresses(self, url: str) -> list[Address]:
        """Where to fetch what has this address, in the order of trying."""
        prefix = _longest(url, self.settings.stand_ins)
        if prefix is not None:
            stand_in = self.settings.stand_ins[prefix]
            return [Address(stand_in.url.rstrip("/") + url[len(prefix) :], stand_in)]
        prefix = _longest(url, self.settings.mirrors)
        if prefix is None:
            return [Address(url)]
        return [Address(to.rstrip("/") + url[len(prefix) :]) for to in self.settings.mirrors[prefix]]

    def stand_in(self, url: str) -> StandIn | None:
        """What stands in for that address, if anything does."""
        return self.addresses(url)[0].stand_in

    def rehearsal(self, addresses: Iterable[str]) -> list[list[str]]:
        """What stands in for those addresses, for a digest: what was locked with something else there is not
        what is wanted now.
        """
        pairs = ((url, self.stand_in(url)) for url in addresses)
        return [[url, s.sha256 or "", s.commit or ""] for url, s in pairs if s]


def load_site(workspace: Workspace, file: Path | None = None) -> Site:
    """The settings of this site, from a ``file`` or from where they are found. Raises BadFiles or BadInput.

    They are found in the first of ``$IMAGEFACTORY_SITE``, ``site.yaml`` in the checkout,
    ``~/.config/imagefactory/site.yaml`` and ``/etc/imagefactory/site.yaml``. Variables go before it.
    """
    file = file or _find(workspace)
    settings = load(file, workspace.shown(file), SiteFile).model if file else SiteFile.model_construct()
    settings = _with_variables(settings)
    bundle = settings.ca_bundle or _variable(_CA_VARIABLES)
    if bundle and not Path(bundle).is_file():
        raise BadInput(
            f"there is no CA bundle {bundle}", hint=f"mend 'ca_bundle' in {file or 'the variable'}"
        )
    site = Site(
        settings=settings,
        file=file,
        proxies=_proxies(settings),
        ca_bundle=Path(bundle) if bundle else None,
        python_index=settings.python_index or _variable(_INDEX_VARIABLES) or None,
        store=Path(settings.store) if settings.store else _data_home() / "imagefactory" / "store",
    )
    for address in _addresses(site):
        keep_address(address)
    keep_variables(os.environ)  # of this process too, which need not be the command's
    return site


def _find(workspace: Workspace) -> Path | None:
    named = os.environ.get("IMAGEFACTORY_SITE")
    if named:
        if not Path(named).is_file():
            raise BadInput(f"IMAGEFACTORY_SITE names {named}, and there is no such file")
        return Path(named).resolve()
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    places = (workspace.root / FILE, config / "imagefactory" / FILE, Path("/etc/imagefactory") / FILE)
    return next((place for place in places if place.is_file()), None)


def _with_variables(settings: SiteFile) -> SiteFile:
    changes: dict[str, object] = {}
    for key in ("store", "ca_bundle", "python_index"):
        value = os.environ.get(f"IMAGEFACTORY_{key.upper()}")
        if value:
            changes[key] = value
    pause = os.environ.get("IMAGEFACTORY_RETRY_PAUSE")
    if pause:
        changes["retry_pause"] = _number(pause)
    accepted = os.environ.get("IMAGEFACTORY_ACCEPT_LICENCES", "").split()
    if accepted:
        changes["accept_licences"] = (*settings.accept_licences, *accepted)
    pairs = [pair.partition("=") for pair in os.environ.get("IMAGEFACTORY_MIRRORS", "").split()]
    if pairs:
        if not all(separator and to for _, separator, to in pairs):
            raise BadInput("IMAGEFACTORY_MIRRORS: expected pairs such as https://from=https://to")
        changes["mirrors"] = {**settings.mirrors, **{of.rstrip("/"): (to,) for of, _, to in pairs}}
    if not changes:
        return settings
    try:
        return SiteFile.model_validate({**settings.model_dump(), **changes})
    except ValidationError as error:
        first = error.errors()[0]
        place, reason = str(first["loc"][0]), first.get("ctx", {}).get("what") or first["msg"]
        raise BadInput(f"IMAGEFACTORY_{place.upper()}: expected {reason}") from None


def _number(text: str) -> float | str:
    """A number where it is one; what it should have been is said by the check of all settings."""
    try:
        return float(text)
    except ValueError:
        return text


def _proxies(settings: SiteFile) -> dict[str, str]:
    proxies = {}
    for name, own in zip(_PROXIES, Proxies.model_fields, strict=True):
        value = getattr(settings.proxies, own)
        chosen = os.environ.get(name) or os.environ.get(name.upper()) or value
        if chosen:
            proxies[name] = str(chosen)
    return proxies


def _variable(names: tuple[str, ...]) -> str:
    return next((os.environ[name] for name in names if os.environ.get(name)), "")


def _data_home() -> Path:
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")


def _longest(url: str, prefixes: Mapping[str, object]) -> str | None:
    fitting = [p for p in prefixes if url == p or url.startswith(f"{p}/")]
    return max(fitting, key=len, default=None)


def _addresses(site: Site) -> Iterator[str]:
    """All that may hold a password."""
    for to in site.settings.mirrors.values():
        yield from to
    yield from (stand_in.url for stand_in in site.settings.stand_ins.values())
    # Most programs take a proxy's address without its scheme too.
    yield from (proxy if "://" in proxy else f"http://{proxy}" for proxy in site.proxies.values())
    yield site.python_index or ""
