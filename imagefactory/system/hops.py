"""From one server to another: who an address belongs to, who we are there, and where an answer sends us."""

from __future__ import annotations

import urllib.parse

import requests
from requests.utils import get_auth_from_url, get_netrc_auth, requote_uri

from imagefactory.errors import BuildFailed
from imagefactory.system.answers import MAX_WORDS, shown
from imagefactory.system.redact import redact

_MOVED = frozenset((301, 302, 303, 307, 308))
PORTS = {"http": 80, "https": 443}


def server_of(url: str) -> tuple[str, str, int | None]:
    """Who an address belongs to: credentials are for exactly that."""
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or PORTS.get(parts.scheme)


def is_same_in_tls(here: str, there: str) -> bool:
    """Whether it is only the way there that changes, from http to https."""
    (scheme, host, port), other = server_of(here), server_of(there)
    return (scheme, port) == ("http", 80) and other == ("https", host, 443)


def origin(url: str) -> str:
    parts = urllib.parse.urlsplit(anonymous(url))
    return f"{parts.scheme}://{parts.netloc}"


def anonymous(url: str) -> str:
    """The address without who we are."""
    parts = urllib.parse.urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def login_of(url: str, named_by: str) -> tuple[str, str] | None:
    """Who we are to a server that another one named."""
    ours = get_netrc_auth(url)
    if server_of(url) == server_of(named_by):
        user, password = get_auth_from_url(named_by)
        return (user, password) if user else ours
    return ours if ours and ours == get_netrc_auth(named_by) else None


def target_of(answer: requests.Response, here: str, what: str) -> str:
    """Where an answer sends us; empty where it does not."""
    said = str(answer.headers.get("Location", "")) if answer.status_code in _MOVED else ""
    if not said:
        return ""
    try:
        target = urllib.parse.urljoin(here, requote_uri(said.encode("latin-1").decode("utf-8", "replace")))
        scheme, host, _ = server_of(target)
    except ValueError:  # requests' own errors are of that kind as well
        scheme, host, target = "", "", said
    there = redact(target[:MAX_WORDS])
    if scheme not in PORTS or not host:
        raise BuildFailed(
            f"{what}: {shown(here)} sends us to {there}, and only http and https are followed",
            hint="look at it with a browser, or name a mirror in site.yaml",
        )
    if scheme == "http" and here.startswith("https:"):
        raise BuildFailed(
            f"{what}: {shown(here)} sends us from https to http: {there}",
            hint="find an address that stays with https, or name a mirror in site.yaml",
        )
    return target
