"""The one place that speaks HTTP: files into drafts, carried on where they broke off, and checked."""

from __future__ import annotations

import errno
import functools
import hashlib
import io
import re
import shutil
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from types import MappingProxyType
from typing import Any

import requests
from requests.utils import (
    get_auth_from_url,
    get_netrc_auth,
    requote_uri,
    select_proxy,
    should_bypass_proxies,
)

from imagefactory.errors import BuildFailed, DiskFull, Gone, NetworkFault, disk_error
from imagefactory.model.expected import Expected
from imagefactory.system.places import addresses_of, is_of_machine, may_name
from imagefactory.system.processes import Stop
from imagefactory.system.redact import keep_secret, redact
from imagefactory.system.site import Site
from imagefactory.system.wire import POOLS, Flood, TooSlow

_TIMEOUT = (15, 30)  # seconds to connect, and between two pieces
_PIECE = 1 << 18
_PASSING = frozenset((408, 425, 429, 500, 502, 503, 504))  # HTTP statuses that may be others soon
_GONE = frozenset((404, 410))
_MOVED = frozenset((301, 302, 303, 307, 308))
_PAGE = (b"<!doctype html", b"<html")
_PORTS = {"http": 80, "https": 443}
_MAX_REASON = 200  # letters of what a server or a library says
_MAX_CHALLENGE = 4 << 10

MAX_FILE = 256 << 30  # bytes of a file whose size nobody knows
RESERVE = 1 << 30  # bytes that such a file leaves free on the disk
UNWATCHED = 64 << 20  # bytes of it that are taken without a look at the disk
MAX_DOCUMENT = 64 << 20  # bytes of what is read into memory
DOCUMENT_SECONDS = 300.0
MAX_REDIRECTS = 10


class _Session(requests.Session):
    """One that follows no redirect: we do, for not every place is as good as the one that was named."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


class _Adapter(requests.adapters.HTTPAdapter):
    """Its connections bound what a server may send beside its content, and how slowly it may send."""

    def init_poolmanager(self, *arguments: Any, **more: Any) -> None:
        super().init_poolmanager(*arguments, **more)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, *arguments: Any, **more: Any) -> Any:
        manager = super().proxy_manager_for(*arguments, **more)
        manager.pool_classes_by_scheme = POOLS
        return manager


class Web:
    """Fetches over HTTP(S), or from a folder by a ``file:///`` address, with the site's settings in force."""

    def __init__(self, site: Site, stop: Stop) -> None:
        self._site = site
        self._stop = stop
        # By server: where it was really found.
        self._found: dict[tuple[str, str, int | None], set[str]] = {}

    @functools.cached_property
    def session(self) -> requests.Session:
        """One session: connections are used again. Proxies and certificates are the site's alone."""
        session = _Session()
        session.trust_env = False
        # As the programs of a Dockerfile that is built by itself: nothing is remembered for a server.
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        session.verify = str(self._site.ca_bundle) if self._site.ca_bundle else True
        session.headers.update({"User-Agent": "imagefactory", "Accept-Encoding": "identity"})
        for scheme in ("http://", "https://"):
            session.mount(scheme, _Adapter(pool_maxsize=16))
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
        *,
        named_by: str = "",
    ) -> None:
        """Write the file at ``url`` into ``draft``, after what the draft holds already, and check it.

        ``on_bytes`` is told of each piece; ``named_by`` is as in ``opened``. Raises NetworkFault where trying
        again may help, else Gone or BuildFailed; a draft of the wrong content, or of too much of it, is
        removed.
        """
        resumed = draft.exists() and draft.stat().st_size > 0
        digest = _digest(draft) if resumed else hashlib.sha256()
        if url.startswith("file:"):
            _copy(url, draft, expected)
            digest = _digest(draft)
        elif not resumed or digest.hexdigest() != expected.sha256:
            digest = self._receive(url, draft, digest, expected, on_bytes, headers, named_by)
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
            hint=_other_file(url, page=page),
        )

    def read(
        self,
        url: str,
        what: str,
        headers: Mapping[str, str] | None = None,
        *,
        most: int | None = None,
        named_by: str = "",
    ) -> requests.Response:
        """A whole small document, of ``most`` bytes, from that server and no other. Raises as ``download``
        does.

        ``named_by`` is the address whose server named ``url``. Who we are to another server is then told
        only where ~/.netrc has the same for both: else whoever names it could make us ask there in our name.
        """
        most, until = most or MAX_DOCUMENT, time.monotonic() + DOCUMENT_SECONDS
        options = self.options(url, headers or {})
        if named_by:
            url, options["auth"] = _anonymous(url), _login(url, named_by)
        with self._answers(url, what, headers or {}, options, elsewhere=False) as answer:
            _check_status(answer, what, url)
            encoding = str(answer.headers.get("Content-Encoding", ""))
            if encoding.strip().lower() not in ("", "identity"):
                raise BuildFailed(
                    f"{what}: {_shown(url)} answers packed ({encoding[:40]}), which it was asked not to do",
                    hint="name another mirror in site.yaml",
                )
            data = bytearray()
            for piece in pieces_of(answer):
                self._stop.check()
                data += piece
                if len(data) > most:
                    raise BuildFailed(
                        f"{what}: {_shown(url)} sends more than the {most} bytes that its answer may have",
                        hint="name another mirror in site.yaml",
                    )
                if time.monotonic() > until:
                    raise NetworkFault(
                        f"{what}: {_shown(url)} sends too slowly: "
                        f"{len(data)} bytes in {DOCUMENT_SECONDS:g} seconds"
                    )
            answer.raw.release_conn()
            answer.raw = io.BytesIO(data)
            assert answer.content == data  # which has it kept when all is closed
            return answer

    @contextmanager
    def opened(
        self,
        url: str,
        what: str,
        method: str = "GET",
        headers: Mapping[str, str] = MappingProxyType({}),
        body: bytes = b"",
        *,
        named_by: str = "",
    ) -> Iterator[requests.Response]:
        """An answer to be read with ``pieces_of``, while the block runs, as the server gives it: also that
        something is not there. Raises as ``download`` does.

        A file that an index names (``named_by``, see ``read``) may come from another server than that, but
        not from one of this machine, or its network, that only we can reach.
        """
        options = self.options(url)
        if named_by:
            url, options["auth"] = _anonymous(url), _login(url, named_by)
        with self._answers(
            url, what, headers, options, elsewhere=bool(named_by), method=method, body=body, named_by=named_by
        ) as answer:
            if answer.status_code in (401, 403, 407) or answer.status_code in _PASSING:
                _check_status(answer, what, url)
            yield answer

    def challenge(self, url: str, what: str) -> str:
        """How a server that does not let us in wants us to log in, in its own words (RFC 9110, 11.6.1); empty
        where it lets us in. Raises as ``download`` does.
        """
        with self._answers(url, what, {}, self.options(url), elsewhere=False) as answer:
            if answer.status_code == 401:
                return str(answer.headers.get("WWW-Authenticate", ""))[:_MAX_CHALLENGE]
            if answer.status_code in _PASSING:
                _check_status(answer, what, url)
            return ""

    @contextmanager
    def _answers(
        self,
        url: str,
        what: str,
        headers: Mapping[str, str],
        options: dict[str, Any],
        *,
        elsewhere: bool,
        method: str = "GET",
        body: bytes = b"",
        named_by: str = "",
    ) -> Iterator[requests.Response]:
        """The answer, of which no more than the head was read; redirects are followed.

        Nothing that says who we are goes to another server. Without ``elsewhere`` we do not either: what is
        not checked against a lock has to come from who was asked.
        """
        # What an address holds would take the place of what a header says.
        here, headers = _anonymous(url) if "Authorization" in headers else url, dict(headers)
        for _ in range(MAX_REDIRECTS + 1):
            if named_by:
                self._check_named(here, named_by, what, self._addresses(here, options))
            with (
                _explained(what, here),
                self.session.request(
                    method, here, headers=headers, data=body or None, stream=True, **options
                ) as answer,
            ):
                # A name may lead elsewhere than a moment ago.
                peer = "" if select_proxy(here, options["proxies"]) else _peer(answer)
                if peer and named_by:
                    self._check_named(here, named_by, what, [peer], is_peer=True)
                elif peer:
                    self._found.setdefault(_server(here), set()).add(peer)
                target = _target(answer, here, what)
                if not target:
                    yield answer
                    return
            if _server(target) != _server(here):
                if not elsewhere and not _is_same_in_tls(here, target):
                    raise BuildFailed(
                        f"{what}: {_shown(here)} sends us to another server, {_origin(target)}",
                        hint="if that is right, name it in site.yaml: "
                        f"mirrors: {{{_origin(here)}: {_origin(target)}}}",
                    )
                headers.pop("Authorization", None)
                target = _anonymous(target)
                options = {**self.options(target), "auth": None}
            here = target
        raise BuildFailed(
            f"{what}: {_shown(url)} sends us from one address to the next, {MAX_REDIRECTS} times and more",
            hint="look at it with a browser, or name a mirror in site.yaml",
        )

    def _addresses(self, url: str, options: Mapping[str, Any]) -> list[str]:
        """Where its server is; behind a proxy, which finds it for us, only if the address says so."""
        host, proxied = urllib.parse.urlsplit(url).hostname or "", select_proxy(url, options["proxies"])
        return addresses_of(host, literal=bool(proxied))

    @functools.cached_property
    def _of_site(self) -> frozenset[tuple[str, str, int | None]]:
        """The servers that the site names itself."""
        settings = self._site.settings
        urls = [*settings.mirrors, *(to for each in settings.mirrors.values() for to in each)]
        urls += [*settings.stand_ins, *(stand_in.url for stand_in in settings.stand_ins.values())]
        return frozenset(map(_server, [*urls, self._site.python_index or ""]))

    def _check_named(
        self, url: str, named_by: str, what: str, addresses: Sequence[str], *, is_peer: bool = False
    ) -> None:
        """An index names what anybody can have: else we would ask for a stranger where only we can."""
        server, index = _server(url), _server(named_by)
        if server in self._of_site:
            return
        found = tuple(self._found.get(index, ())) or self._addresses(named_by, self.options(named_by))
        if server == index and (not is_peer or set(addresses) <= set(found)):
            return
        why = ""
        if server[0] == "http" and index[0] == "https":
            why = "which is not https as it is itself"
        elif not may_name(found, addresses):
            place = "machine" if any(map(is_of_machine, addresses)) else "network"
            why = f"which is an address of this {place}"
        if why:
            raise BuildFailed(
                f"{what}: the index names a file at {_shown(url)}, {why}: not asked",
                hint=f"if that is right, name it in site.yaml: mirrors: {{{_origin(url)}: {_origin(url)}}}",
            )

    def _receive(
        self,
        url: str,
        draft: Path,
        digest: Any,
        expected: Expected,
        on_bytes: Callable[[int], None],
        headers: Mapping[str, str],
        named_by: str,
    ) -> Any:
        start = draft.stat().st_size if draft.exists() else 0
        headers = {**headers, **({"Range": f"bytes={start}-"} if start else {})}
        options = self.options(url, headers)
        if named_by:
            url, options["auth"] = _anonymous(url), _login(url, named_by)
        with self._answers(url, expected.what, headers, options, elsewhere=True, named_by=named_by) as answer:
            if start and answer.status_code == 416:  # the draft is longer than the file
                draft.unlink()
                raise NetworkFault(f"{expected.what}: {_shown(url)} is shorter than what came before")
            _check_status(answer, expected.what, url)
            if start and answer.status_code != 206:  # the server sends everything again
                digest = hashlib.sha256()
                start = 0
            elif start and not _begins(answer, start):
                draft.unlink()
                raise NetworkFault(f"{expected.what}: {_shown(url)} sends another part than it was asked for")
            most = _most(expected)
            if start + _announced(answer) > most:
                page = next(pieces_of(answer), b"").lstrip().lower().startswith(_PAGE)
                draft.unlink(missing_ok=True)
                raise _too_much(expected, url, start + _announced(answer), page=page)
            on_bytes(start)
            size = start
            with _writing(draft, "ab" if start else "wb") as out:
                for piece in pieces_of(answer):
                    self._stop.check()
                    size += len(piece)
                    if size > most:
                        out.flush()
                        page = _is_page(draft)
                        draft.unlink()
                        raise _too_much(expected, url, 0, page=page)
                    if not expected.bytes and size > UNWATCHED:
                        _check_reserve(draft, expected, url, size)
                    digest.update(piece)
                    out.write(piece)
                    on_bytes(len(piece))
        return digest


def public_certificates() -> Path:
    """The certificates that are trusted where a site names none: a file in PEM format."""
    from requests import certs

    return Path(certs.where())  # type: ignore[attr-defined]


def _digest(file: Path) -> Any:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256")


def _most(expected: Expected) -> int:
    """How many bytes may come."""
    return expected.bytes or expected.most or MAX_FILE


def _announced(answer: requests.Response) -> int:
    """How many bytes a server says that it sends; 0 where it does not say."""
    return int(answer.headers.get("Content-Length") or 0)  # checked when it came


def _begins(answer: requests.Response, start: int) -> bool:
    """Whether a part of a file begins there, or does not say where."""
    said = str(answer.headers.get("Content-Range", "")).strip().lower()
    return not said or re.match(rf"bytes\s+0*{start}-", said) is not None


def _too_much(expected: Expected, url: str, announced: int, *, page: bool) -> BuildFailed:
    if expected.bytes:
        found = f"{announced} bytes" if announced else "more"
        what = f"expected {expected.bytes} bytes, found {found}" + (", a web page" if page else "")
        return BuildFailed(f"{expected.what}: {what}", hint=_other_file(url, page=page))
    return BuildFailed(
        f"{expected.what}: {_shown(url)} sends more than {_most(expected)} bytes, which no such file has",
        hint="look at what is there: it may have no end",
    )


def _other_file(url: str, *, page: bool) -> str:
    """What to do where another file is than should be."""
    return f"{_shown(url)} " + (
        "answers with a page: look at it with a browser, perhaps you must log in first"
        if page
        else "holds another file than the one that was pinned: find out why before you pin it anew"
    )


def _check_reserve(draft: Path, expected: Expected, url: str, size: int) -> None:
    """Give up before a file whose end nobody knows fills the disk."""
    if shutil.disk_usage(draft.parent).free >= RESERVE:
        return
    draft.unlink()
    raise DiskFull(
        f"{expected.what}: {_shown(url)} has sent {size} bytes, and would fill the disk of {draft.parent}",
        hint="if it is so large, free some space there, then run the same command again",
    )


def _server(url: str) -> tuple[str, str, int | None]:
    """Who an address belongs to: credentials are for exactly that."""
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or _PORTS.get(parts.scheme)


def _is_same_in_tls(here: str, there: str) -> bool:
    """Whether it is only the way there that changes, from http to https."""
    (scheme, host, port), other = _server(here), _server(there)
    return (scheme, port) == ("http", 80) and other == ("https", host, 443)


def _origin(url: str) -> str:
    parts = urllib.parse.urlsplit(_anonymous(url))
    return f"{parts.scheme}://{parts.netloc}"


def _anonymous(url: str) -> str:
    """The address without who we are."""
    parts = urllib.parse.urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _login(url: str, named_by: str) -> tuple[str, str] | None:
    """Who we are to a server that another one named."""
    ours = get_netrc_auth(url)
    if _server(url) == _server(named_by):
        user, password = get_auth_from_url(named_by)
        return (user, password) if user else ours
    return ours if ours and ours == get_netrc_auth(named_by) else None


def _peer(answer: requests.Response) -> str:
    """The address that an answer comes from; empty where that cannot be said."""
    return str(getattr(getattr(answer.raw, "_original_response", None), "peer", ""))


def _target(answer: requests.Response, here: str, what: str) -> str:
    """Where an answer sends us; empty where it does not."""
    said = str(answer.headers.get("Location", "")) if answer.status_code in _MOVED else ""
    if not said:
        return ""
    try:
        target = urllib.parse.urljoin(here, requote_uri(said.encode("latin-1").decode("utf-8", "replace")))
        scheme, host, _ = _server(target)
    except ValueError:  # requests' own errors are of that kind as well
        scheme, host, target = "", "", said
    shown = redact(target[:_MAX_REASON])
    if scheme not in _PORTS or not host:
        raise BuildFailed(
            f"{what}: {_shown(here)} sends us to {shown}, and only http and https are followed",
            hint="look at it with a browser, or name a mirror in site.yaml",
        )
    if scheme == "http" and here.startswith("https:"):
        raise BuildFailed(
            f"{what}: {_shown(here)} sends us from https to http: {shown}",
            hint="find an address that stays with https, or name a mirror in site.yaml",
        )
    return target


def pieces_of(answer: requests.Response) -> Iterator[bytes]:
    """What a server sends, as it comes."""
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
    except TooSlow as error:
        raise NetworkFault(
            f"{what}: {_shown(url)} {error}",
            hint="try again later, or name a mirror in site.yaml",
        ) from None
    except Flood as error:
        raise BuildFailed(f"{what}: {_shown(url)} {error}", hint="name another mirror in site.yaml") from None
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
    said = f"{status} {str(answer.reason)[:_MAX_REASON]}"
    if status in _PASSING:
        raise NetworkFault(f"{what}: {_shown(url)} answers {said}")
    if status in _GONE:
        raise Gone(f"{what}: {_shown(url)} is not there: it answers {said}")
    if status in (401, 403, 407):
        raise BuildFailed(
            f"{what}: {_shown(url)} refuses: it answers {said}",
            hint="log in, such as with a line in ~/.netrc, or name a mirror that lets you in",
        )
    if not 200 <= status < 300:
        raise BuildFailed(f"{what}: {_shown(url)} answers {said}")


def _is_page(draft: Path) -> bool:
    with draft.open("rb") as file:
        return file.read(512).lstrip().lower().startswith(_PAGE)


def _shown(url: str) -> str:
    return redact(url)


def _reason(error: Exception) -> str:
    """The innermost words of an exception, which say most."""
    cause: Any = error
    while inner := [each for each in getattr(cause, "args", ()) if isinstance(each, Exception)]:
        cause = inner[-1]
    reason = getattr(cause, "reason", None) or cause
    text = str(getattr(reason, "strerror", None) or reason)
    return redact(re.sub(r"^\[Errno -?\d+\] ", "", text.rpartition(": ")[2] or text))[:_MAX_REASON]
