"""What a server's answer is, and what the client's exceptions are, in words that people understand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests

from imagefactory.errors import BuildFailed, Gone, NetworkFault
from imagefactory.system.redact import redact
from imagefactory.system.wire import Flood, TooSlow

_PIECE = 1 << 18
PASSING = frozenset((408, 425, 429, 500, 502, 503, 504))  # HTTP statuses that may be others soon
_GONE = frozenset((404, 410))
MAX_WORDS = 200  # letters of what a server or a library says


def announced(answer: requests.Response) -> int:
    """How many bytes a server says that it sends; 0 where it does not say."""
    return int(answer.headers.get("Content-Length") or 0)  # checked when it came


def begins(answer: requests.Response, start: int) -> bool:
    """Whether a part of a file begins there, or does not say where."""
    said = str(answer.headers.get("Content-Range", "")).strip().lower()
    return not said or re.match(rf"bytes\s+0*{start}-", said) is not None


def pieces_of(answer: requests.Response) -> Iterator[bytes]:
    """What a server sends, as it comes."""
    while piece := answer.raw.read1(_PIECE, decode_content=False):  # as much as there is, without waiting
        yield piece


@contextmanager
def explained(what: str, url: str) -> Iterator[None]:
    """The client's exceptions as failures that people understand."""
    try:
        yield
    except requests.exceptions.SSLError as error:
        raise BuildFailed(
            f"{what}: the certificate of {shown(url)} is not trusted: {reason_of(error)}",
            hint="where a proxy re-signs TLS, name its certificates as 'ca_bundle' in site.yaml",
        ) from None
    except requests.exceptions.ProxyError as error:
        raise NetworkFault(
            f"{what}: the proxy does not let us reach {shown(url)}: {reason_of(error)}",
            hint="check 'proxies' in site.yaml, or http_proxy and https_proxy",
        ) from None
    except requests.exceptions.InvalidURL as error:
        raise BuildFailed(f"{what}: {shown(url)} is no address: {redact(str(error))}") from None
    except TooSlow as error:
        raise NetworkFault(
            f"{what}: {shown(url)} {error}",
            hint="try again later, or name a mirror in site.yaml",
        ) from None
    except Flood as error:
        raise BuildFailed(f"{what}: {shown(url)} {error}", hint="name another mirror in site.yaml") from None
    except (requests.RequestException, OSError, _http_errors()) as error:
        raise NetworkFault(
            f"{what}: {shown(url)} cannot be reached: {reason_of(error)}",
            hint="check the network; behind a firewall, name mirrors or proxies in site.yaml",
        ) from None


def _http_errors() -> type[Exception]:
    from urllib3.exceptions import HTTPError

    return HTTPError


def check_status(answer: requests.Response, what: str, url: str) -> None:
    status = answer.status_code
    said = f"{status} {str(answer.reason)[:MAX_WORDS]}"
    if status in PASSING:
        raise NetworkFault(f"{what}: {shown(url)} answers {said}")
    if status in _GONE:
        raise Gone(f"{what}: {shown(url)} is not there: it answers {said}")
    if status in (401, 403, 407):
        raise BuildFailed(
            f"{what}: {shown(url)} refuses: it answers {said}",
            hint="log in, such as with a line in ~/.netrc, or name a mirror that lets you in",
        )
    if not 200 <= status < 300:
        raise BuildFailed(f"{what}: {shown(url)} answers {said}")


def shown(url: str) -> str:
    return redact(url)


def reason_of(error: Exception) -> str:
    """The innermost words of an exception, which say most."""
    cause: Any = error
    while inner := [each for each in getattr(cause, "args", ()) if isinstance(each, Exception)]:
        cause = inner[-1]
    reason = getattr(cause, "reason", None) or cause
    text = str(getattr(reason, "strerror", None) or reason)
    return redact(re.sub(r"^\[Errno -?\d+\] ", "", text.rpartition(": ")[2] or text))[:MAX_WORDS]
