"""The one place that speaks HTTP: files into drafts, carried on where they broke off, and checked."""

from __future__ import annotations

import errno
import functools
import hashlib
import re
import shutil
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import requests
from requests.utils import get_netrc_auth, should_bypass_proxies

from imagefactory.errors import BuildFailed, Gone, NetworkFault, disk_error
from imagefactory.model.expected import Expected
from imagefactory.system.processes import Stop
from imagefactory.system.redact import keep_secret, redact
from imagefactory.system.site import Site

_TIMEOUT = (15, 30)  # seconds to connect, and between two pieces
_PIECE = 1 << 18
_PASSING = frozenset((408, 425, 429, 500, 502, 503, 504))  # HTTP statuses that may be others soon
_GONE = frozenset((404, 410))
_PAGE = (b"<!doctype html", b"<html")


class Web:
    """Fetches over HTTP(S), or from a folder by a ``file:///`` address, with the site's settings in force."""

    def __init__(self, site: Site, stop: Stop) -> None:
        self._site = site
        self._stop = stop

    @functools.cached_property
    def session(self) -> requests.Session:
        """One session: connections are used again. Proxies and certificates are the site's alone."""
        session = requests.Session()
        session.trust_env = False
        session.verify = str(self._site.ca_bundle) if self._site.ca_bundle else True
        session.headers.update({"User-Agent": "imagefactory", "Accept-Encoding": "identity"})
        for scheme in ("http://", "https://"):
            session.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=16))
        return session

    def options(self, url: str, headers: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
        """What a request to ``url`` needs beside it: the proxy, and who we are to that host."""
        proxies = self._site.proxies
        if should_bypass_proxies(url, proxies.get("no_proxy")):
            proxies = {}
        chosen = {name.removesuffix("_proxy"): value for name, value in proxies.items() if name != "no_proxy"}
        options: dict[str, Any] = {"timeout": _TIMEOUT, "proxies": chosen}
        if not urllib.parse.urlsplit(url).username and "Authorization" not in headers:
            login = get_netrc_auth(url)
            keep_secret(login[1] if login else "", "password in .netrc")
            options["auth"] = login
        return options

    def download(
        self,
        url: str,
        draft: Path,
        expected: Expected,
        on_bytes: Callable[[int], None] = lambda count: None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Write the file at ``url`` into ``draft``, after what the draft holds already, and check it.

        ``on_bytes`` is told of each piece. Raises NetworkFault where trying again may help, else Gone or
        BuildFailed; a draft of the wrong content is removed.
        """
        resumed = draft.exists() and draft.stat().st_size > 0
        digest = _digest(draft) if resumed else hashlib.sha256()
        if url.startswith("file:"):
            _copy(url, draft, expected)
            digest = _digest(draft)
        elif not resumed or digest.hexdigest() != expected.sha256:
            digest = self._receive(url, draft, digest, expected, on_bytes, headers)
        actual = digest.hexdigest()
        if actual == expected.sha256:
            return
        size, page = draft.stat().st_size, _is_page(draft)
        if resumed:  # the part that was there may be of something else: begin again
            draft.unlink()
            raise NetworkFault(f"{expected.what}: what came before did not fit to {_shown(url)}")
        if expected.bytes is not None and size < expected.bytes and not page:
            raise NetworkFault(f"{expected.what}: {_shown(url)} ended after {size} of {expected.bytes} bytes")
        draft.unlink()
        raise BuildFailed(
            f"{expected.what}: expected sha256 {expected.sha256}, found {actual}"
            + (", a web page" if page else f", {size} bytes"),
            hint=f"{_shown(url)} "
            + (
                "answers with a page: look at it with a browser, perhaps you must log in first"
                if page
                else "holds another file than the one that was pinned: find out why before you pin it anew"
            ),
        )

    def read(self, url: str, what: str, headers: Mapping[str, str] | None = None) -> requests.Response:
        """A whole small document. Raises as ``download`` does."""
        with _explained(what, url):
            answer = self.session.get(url, headers=dict(headers or {}), **self.options(url))
            _check_status(answer, what, url)
            return answer

    def challenge(self, url: str, what: str) -> str:
        """How a server that does not let us in wants us to log in, in its own words (RFC 9110, 11.6.1); empty
        where it lets us in. Raises as ``download`` does.
        """
        with _explained(what, url), self.session.get(url, stream=True, **self.options(url)) as answer:
            if answer.status_code == 401:
                return str(answer.headers.get("WWW-Authenticate", ""))
            if answer.status_code in _PASSING:
                _check_status(answer, what, url)
            return ""

    def _receive(
        self,
        url: str,
        draft: Path,
        digest: Any,
        expected: Expected,
        on_bytes: Callable[[int], None],
        headers: Mapping[str, str],
    ) -> Any:
        start = draft.stat().st_size if draft.exists() else 0
        headers = {**headers, **({"Range": f"bytes={start}-"} if start else {})}
        with (
            _explained(expected.what, url),
            self.session.get(url, headers=headers, stream=True, **self.options(url, headers)) as answer,
        ):
            if answer.status_code == 416:  # the draft is longer than the file
                draft.unlink()
                raise NetworkFault(f"{expected.what}: {_shown(url)} is shorter than what came before")
            _check_status(answer, expected.what, url)
            if start and answer.status_code != 206:  # the server sends everything again
                digest = hashlib.sha256()
                start = 0
            on_bytes(start)
            with _writing(draft, "ab" if start else "wb") as out:
                for piece in _pieces(answer):
                    self._stop.check()
                    digest.update(piece)
                    out.write(piece)
                    on_bytes(len(piece))
        return digest


def _digest(file: Path) -> Any:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256")


def _pieces(answer: requests.Response) -> Iterator[bytes]:
    while piece := answer.raw.read1(_PIECE, decode_content=False):  # as much as there is, without waiting
        yield piece


@contextmanager
def _writing(draft: Path, mode: str) -> Iterator[Any]:
    try:
        with draft.open(mode) as out:
            yield out
    except requests.RequestException:
        raise
    except OSError as error:
        if error.filename or error.errno in (errno.ENOSPC, errno.EDQUOT):  # ours, not the connection's
            raise disk_error(error, draft) from None
        raise


def _copy(url: str, draft: Path, expected: Expected) -> None:
    path = Path(urllib.request.url2pathname(urllib.parse.urlsplit(url).path))
    if not path.is_file():
        raise Gone(f"{expected.what}: there is no file {path}")
    try:
        shutil.copyfile(path, draft)
    except OSError as error:
        raise disk_error(error, draft) from None


@contextmanager
def _explained(what: str, url: str) -> Iterator[None]:
    """The client's exceptions as failures that people understand."""
    try:
        yield
    except requests.exceptions.SSLError as error:
        raise BuildFailed(
            f"{what}: the certificate of {_shown(url)} is not trusted: {_reason(error)}",
            hint="where a proxy re-signs TLS, name its certificates as 'ca_bundle' in site.yaml",
        ) from None
    except requests.exceptions.ProxyError as error:
        raise NetworkFault(
            f"{what}: the proxy does not let us reach {_shown(url)}: {_reason(error)}",
            hint="check 'proxies' in site.yaml, or http_proxy and https_proxy",
        ) from None
    except requests.exceptions.InvalidURL as error:
        raise BuildFailed(f"{what}: {_shown(url)} is no address: {redact(str(error))}") from None
    except (requests.RequestException, OSError, _http_errors()) as error:
        raise NetworkFault(
            f"{what}: {_shown(url)} cannot be reached: {_reason(error)}",
            hint="check the network; behind a firewall, name mirrors or proxies in site.yaml",
        ) from None


def _http_errors() -> type[Exception]:
    from urllib3.exceptions import HTTPError

    return HTTPError


def _check_status(answer: requests.Response, what: str, url: str) -> None:
    status = answer.status_code
    if status in _PASSING:
        raise NetworkFault(f"{what}: {_shown(url)} answers {status} {answer.reason}")
    if status in _GONE:
        raise Gone(f"{what}: {_shown(url)} is not there: it answers {status} {answer.reason}")
    if status in (401, 403, 407):
        raise BuildFailed(
            f"{what}: {_shown(url)} refuses: it answers {status} {answer.reason}",
            hint="log in, such as with a line in ~/.netrc, or name a mirror that lets you in",
        )
    if status >= 400:
        raise BuildFailed(f"{what}: {_shown(url)} answers {status} {answer.reason}")


def _is_page(draft: Path) -> bool:
    with draft.open("rb") as file:
        return file.read(512).lstrip().lower().startswith(_PAGE)


def _shown(url: str) -> str:
    return redact(url)


def _reason(error: Exception) -> str:
    """The innermost words of an exception, which say most."""
    text = str(error)
    cause: Any = error
    while getattr(cause, "args", ()) and isinstance(cause.args[0], Exception):
        cause = cause.args[0]
    reason = getattr(cause, "reason", None) or cause
    text = str(getattr(reason, "strerror", None) or reason)
    return redact(re.sub(r"^\[Errno -?\d+\] ", "", text.rpartition(": ")[2] or text))[:200]
