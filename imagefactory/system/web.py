"""The one place that speaks HTTP: files into drafts, carried on where they broke off, and checked."""

from __future__ import annotations

import errno
import functools
import hashlib
import io
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
    get_netrc_auth,
    select_proxy,
    should_bypass_proxies,
)

from imagefactory.errors import BuildFailed, DiskFull, Gone, NetworkFault, disk_error
from imagefactory.model.expected import Expected
from imagefactory.system.answers import PASSING, announced, begins, check_status, explained, pieces_of, shown
from imagefactory.system.hops import anonymous, is_same_in_tls, login_of, origin, server_of, target_of
from imagefactory.system.places import addresses_of, is_of_machine, may_name
from imagefactory.system.processes import Stop
from imagefactory.system.redact import keep_secret
from imagefactory.system.site import Site
from imagefactory.system.wire import POOLS

_TIMEOUT = (15, 30)  # seconds to connect, and between two pieces
_PAGE = (b"<!doctype html", b"<html")
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
        digest = _digest(draft, expected) if resumed else hashlib.new(expected.algorithm)
        if url.startswith("file:"):
            _copy(url, draft, expected)
            digest = _digest(draft, expected)
        elif not resumed or digest.hexdigest() != expected.digest:
            digest = self._receive(url, draft, digest, expected, on_bytes, headers, named_by)
        actual = digest.hexdigest()
        if actual == expected.digest:
            return
        size, page = draft.stat().st_size, _is_page(draft)
        if resumed:  # the part that was there may be of something else: begin again
            draft.unlink()
            raise NetworkFault(f"{expected.what}: what came before did not fit to {shown(url)}")
        if expected.bytes is not None and size < expected.bytes and not page:
            raise NetworkFault(f"{expected.what}: {shown(url)} ended after {size} of {expected.bytes} bytes")
        draft.unlink()
        raise BuildFailed(
            f"{expected.what}: expected {expected.algorithm} {expected.digest}, found {actual}"
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
        Nor is it asked where only we can reach it, on this machine or in its network.
        """
        most, until = most or MAX_DOCUMENT, time.monotonic() + DOCUMENT_SECONDS
        options = self.options(url, headers or {})
        if named_by:
            url, options["auth"] = anonymous(url), login_of(url, named_by)
        with self._answers(url, what, headers or {}, options, elsewhere=False, named_by=named_by) as answer:
            check_status(answer, what, url)
            encoding = str(answer.headers.get("Content-Encoding", ""))
            if encoding.strip().lower() not in ("", "identity"):
                raise BuildFailed(
                    f"{what}: {shown(url)} answers packed ({encoding[:40]}), which it was asked not to do",
                    hint="name another mirror in site.yaml",
                )
            data = bytearray()
            for piece in pieces_of(answer):
                self._stop.check()
                data += piece
                if len(data) > most:
                    raise BuildFailed(
                        f"{what}: {shown(url)} sends more than the {most} bytes that its answer may have",
                        hint="name another mirror in site.yaml",
                    )
                if time.monotonic() > until:
                    raise NetworkFault(
                        f"{what}: {shown(url)} sends too slowly: "
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

        A file that an index names (``named_by``, see ``read``) may come from another server than that.
        """
        options = self.options(url)
        if named_by:
            url, options["auth"] = anonymous(url), login_of(url, named_by)
        with self._answers(
            url, what, headers, options, elsewhere=bool(named_by), method=method, body=body, named_by=named_by
        ) as answer:
            if answer.status_code in (401, 403, 407) or answer.status_code in PASSING:
                check_status(answer, what, url)
            yield answer

    def challenge(self, url: str, what: str) -> str:
        """How a server that does not let us in wants us to log in, in its own words (RFC 9110, 11.6.1); empty
        where it lets us in. Raises as ``download`` does.
        """
        with self._answers(url, what, {}, self.options(url), elsewhere=False) as answer:
            if answer.status_code == 401:
                return str(answer.headers.get("WWW-Authenticate", ""))[:_MAX_CHALLENGE]
            if answer.status_code in PASSING:
                check_status(answer, what, url)
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
        here, headers = anonymous(url) if "Authorization" in headers else url, dict(headers)
        for _ in range(MAX_REDIRECTS + 1):
            if named_by:
                self._check_named(here, named_by, what, self._addresses(here, options))
            with (
                explained(what, here),
                self.session.request(
                    method, here, headers=headers, data=body or None, stream=True, **options
                ) as answer,
            ):
                # A name may lead elsewhere than a moment ago.
                peer = "" if select_proxy(here, options["proxies"]) else _peer(answer)
                if peer and named_by:
                    self._check_named(here, named_by, what, [peer], is_peer=True)
                elif peer:
                    self._found.setdefault(server_of(here), set()).add(peer)
                target = target_of(answer, here, what)
                if not target:
                    yield answer
                    return
            if server_of(target) != server_of(here):
                if not elsewhere and not is_same_in_tls(here, target):
                    raise BuildFailed(
                        f"{what}: {shown(here)} sends us to another server, {origin(target)}",
                        hint="if that is right, name it in site.yaml: "
                        f"mirrors: {{{origin(here)}: {origin(target)}}}",
                    )
                headers.pop("Authorization", None)
                target = anonymous(target)
                options = {**self.options(target), "auth": None}
            here = target
        raise BuildFailed(
            f"{what}: {shown(url)} sends us from one address to the next, {MAX_REDIRECTS} times and more",
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
        return frozenset(map(server_of, [*urls, self._site.python_index or ""]))

    def _check_named(
        self, url: str, named_by: str, what: str, addresses: Sequence[str], *, is_peer: bool = False
    ) -> None:
        """An upstream names what anybody can have: else we would ask for a stranger where only we can."""
        server, index = server_of(url), server_of(named_by)
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
                f"{what}: {origin(named_by)} names {shown(url)}, {why}: not asked",
                hint=f"if that is right, name it in site.yaml: mirrors: {{{origin(url)}: {origin(url)}}}",
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
            url, options["auth"] = anonymous(url), login_of(url, named_by)
        with self._answers(url, expected.what, headers, options, elsewhere=True, named_by=named_by) as answer:
            if start and answer.status_code == 416:  # the draft is longer than the file
                draft.unlink()
                raise NetworkFault(f"{expected.what}: {shown(url)} is shorter than what came before")
            check_status(answer, expected.what, url)
            if start and answer.status_code != 206:  # the server sends everything again
                digest = hashlib.sha256()
                start = 0
            elif start and not begins(answer, start):
                draft.unlink()
                raise NetworkFault(f"{expected.what}: {shown(url)} sends another part than it was asked for")
            most = _most(expected)
            if start + announced(answer) > most:
                page = next(pieces_of(answer), b"").lstrip().lower().startswith(_PAGE)
                draft.unlink(missing_ok=True)
                raise _too_much(expected, url, start + announced(answer), page=page)
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


def _digest(file: Path, expected: Expected) -> Any:
    with file.open("rb") as content:
        return hashlib.file_digest(content, expected.algorithm)


def _most(expected: Expected) -> int:
    """How many bytes may come."""
    return expected.bytes or expected.most or MAX_FILE


def _too_much(expected: Expected, url: str, announced: int, *, page: bool) -> BuildFailed:
    if expected.bytes:
        found = f"{announced} bytes" if announced else "more"
        what = f"expected {expected.bytes} bytes, found {found}" + (", a web page" if page else "")
        return BuildFailed(f"{expected.what}: {what}", hint=_other_file(url, page=page))
    return BuildFailed(
        f"{expected.what}: {shown(url)} sends more than {_most(expected)} bytes, which no such file has",
        hint="look at what is there: it may have no end",
    )


def _other_file(url: str, *, page: bool) -> str:
    """What to do where another file is than should be."""
    return f"{shown(url)} " + (
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
        f"{expected.what}: {shown(url)} has sent {size} bytes, and would fill the disk of {draft.parent}",
        hint="if it is so large, free some space there, then run the same command again",
    )


def _peer(answer: requests.Response) -> str:
    """The address that an answer comes from; empty where that cannot be said."""
    return str(getattr(getattr(answer.raw, "_original_response", None), "peer", ""))


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


def _is_page(draft: Path) -> bool:
    with draft.open("rb") as file:
        return file.read(512).lstrip().lower().startswith(_PAGE)
