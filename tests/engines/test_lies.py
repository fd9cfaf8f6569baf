"""Upstreams that lie: each lie is one line for people, and leaves nothing: no file, no draft.

The code is the real one, with real HTTP on this machine; only its bounds are smaller.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from imagefactory.cli.errors import show_error
from imagefactory.errors import BuildFailed, DiskFull, Gone, NetworkFault
from imagefactory.inputs import index, registry
from imagefactory.inputs.conda import Conda
from imagefactory.inputs.index import file_address
from imagefactory.inputs.mirrors import fetch_checked
from imagefactory.inputs.pip import Pip
from imagefactory.inputs.protocol import Means
from imagefactory.inputs.registry import resolve_image
from imagefactory.inputs.sources import Sources
from imagefactory.model.expected import Expected
from imagefactory.model.lock import CondaFile, PipFile, SourceFile
from imagefactory.model.recipe import PipIndex
from imagefactory.model.settings import SiteFile
from imagefactory.system import web, wire
from imagefactory.system.processes import Stop
from imagefactory.system.site import Site
from imagefactory.system.store import Store
from imagefactory.system.web import Web
from tests.upstreams.registry import Registry, push_document, push_image
from tests.upstreams.server import Upstream

MIB = 1 << 20
DATA = os.urandom(100_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
OTHER = DATA[::-1]
index.client_default()  # what starts slowly is here before time and memory count
FOUND = hashlib.sha256(OTHER).hexdigest()
BOMB = gzip.compress(bytes(48 * MIB), 1)
PAGE = b"<!doctype html><title>Log in</title>"
SECONDS, MEMORY = 15.0, 24 * MIB
MOST_FILE = 2 * MIB


@pytest.fixture(autouse=True)
def engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests need no engine, and no user's settings; all bounds are small."""
    monkeypatch.setenv("HOME", str(tmp_path / "outside"))
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.setattr(wire, "PACE_SECONDS", 0.15)
    monkeypatch.setattr(web, "MAX_FILE", MOST_FILE)
    monkeypatch.setattr(web, "DOCUMENT_SECONDS", 0.5)
    monkeypatch.setattr(index, "_MAX_PAGE", MIB)
    monkeypatch.setattr(index, "_MAX_TAGS", 1000)
    monkeypatch.setattr(registry, "_MAX_DOCUMENT", MIB)
    monkeypatch.setattr(registry, "_MAX_TOKEN", 10_000)
    monkeypatch.setattr(registry, "_MAX_LAYERS", 5)


class Bench:
    """An upstream that lies, another server, what fetches, and what must stay as it is."""

    def __init__(self, folder: Path, upstream: Upstream, other: Upstream) -> None:
        self.folder, self.upstream, self.other = folder, upstream, other
        self.store = Store(folder / "store")
        (folder / "outside").mkdir(exist_ok=True)
        (folder / "outside" / "precious").write_bytes(b"precious")
        (folder / "scratch").mkdir()
        self.settings: dict[str, Any] = {"retry_pause": 0}

    @property
    def means(self) -> Means:
        site, stop = Site(SiteFile.model_validate(self.settings), store=self.store.folder), Stop()
        log: Any = SimpleNamespace(line=lambda text: None, step=lambda text: None)
        return Means(site, self.store, Web(site, stop), log, stop, self.folder / "scratch", "linux/amd64")

    def listing(self) -> list[tuple[str, int, int, int]]:
        """All that is outside of the store and the scratch folder."""
        ours = (self.store.folder, self.folder / "scratch")
        facts = (
            (p, p.lstat()) for p in sorted(self.folder.rglob("*")) if not any(map(p.is_relative_to, ours))
        )
        return [(str(p), fact.st_size, fact.st_mtime_ns, fact.st_mode) for p, fact in facts]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    for name in ("upstream", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "other" / "data").write_bytes(DATA)
    with Registry(tmp_path / "upstream") as upstream, Upstream(tmp_path / "other") as other:
        yield Bench(tmp_path, upstream, other)


@dataclass(frozen=True)
class Lie:
    """What an upstream does, and what is said then: ``@`` is the address, ``…`` stands for anything."""

    tell: Callable[[Bench, str], object]
    said: str
    kind: type[BuildFailed] = BuildFailed
    stays: tuple[str, ...] = ()
    """What may stay in the store: what was no lie."""
    draft: bool | None = False
    """Whether a part of the file stays, to be carried on; None where it may."""
    hint: str = ""


def told(bench: Bench, lie: Lie, url: str, action: Callable[[], object], capsys: Any) -> BuildFailed:
    """Have ``action`` fail as it should, and look at what is left."""
    before, began = bench.listing(), time.monotonic()
    tracemalloc.start()
    try:
        with pytest.raises(BuildFailed) as caught:
            action()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    error = caught.value
    said = lie.said.replace("@", url).replace("{other}", bench.other.url)
    assert re.fullmatch(re.escape(said).replace("…", ".*"), error.message, re.DOTALL), error.message
    assert type(error) is lie.kind
    assert lie.hint.replace("{other}", bench.other.url) in error.hint
    assert len(error.message) < 700
    show_error(error)
    shown = capsys.readouterr().err
    assert shown.count("error: ") == 1
    assert all(line.isprintable() for line in shown.splitlines())
    stored = [stored.path.read_bytes() for stored in bench.store.files()]
    assert all(hashlib.sha256(data).hexdigest() in lie.stays for data in stored)
    drafts = [path.name for path in bench.store.folder.glob("partial/*/*") if path.suffix != ".lock"]
    assert lie.draft in (bool(drafts), None), drafts
    assert not list((bench.folder / "scratch").iterdir())
    assert bench.listing() == before
    assert time.monotonic() - began < SECONDS
    assert peak < MEMORY
    return error


def ok(*lines: str, status: str = "200 OK") -> bytes:
    """The head of an answer."""
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode("latin-1")


def raw(begin: bytes, again: bytes = b"", pause: float = 0.0) -> Callable[[Bench, str], None]:
    return lambda bench, path: bench.upstream.raw(path, begin, again, pause)


def to(target: str) -> Callable[[Bench, str], None]:
    def tell(bench: Bench, path: str) -> None:
        place = target.replace("{other}", bench.other.url).replace("{here}", path)
        bench.upstream.raw(path, ok(f"Location: {place}", status="302 Found"))

    return tell


SLOW = "@ sends too slowly: … bytes in … seconds"
HEADS = "@ sends headers without end"
GONE_ELSEWHERE = "file:///etc/passwd, and only http and https are followed"
ANY = {
    "dribbles": Lie(raw(ok("Content-Length: 90000"), b"x", 0.02), SLOW, NetworkFault, draft=None),
    "dribbles headers": Lie(raw(b"HTTP/1.1 200 OK\r\nX: ", b"a", 0.02), SLOW, NetworkFault),
    "goes on for ever": Lie(raw(b"", ok(status="100 Continue") * 100), HEADS),
    "many headers": Lie(
        raw(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 100),
        "@ cannot be reached: got more than 100 headers",
        NetworkFault,
    ),
    "a long header": Lie(
        raw(b"HTTP/1.1 200 OK\r\nX: ", b"y" * 9999),
        "@ cannot be reached: got more than 65536 bytes when reading header line",
        NetworkFault,
    ),
    "no HTTP": Lie(raw(b"\x1b[2J\x9b\xff nonsense\r\n\r\n"), "@ cannot be reached: …", NetworkFault),
    "says nothing": Lie(raw(b""), "@ cannot be reached: …", NetworkFault),
    "two lengths": Lie(
        raw(ok("Content-Length: 5, 6")),
        "@ cannot be reached: the length that it announces is no number",
        NetworkFault,
    ),
    "trailers without end": Lie(
        raw(ok("Transfer-Encoding: chunked") + b"0\r\n", b"a: b\r\n" * 99), HEADS, draft=None
    ),
    "a chunk without size": Lie(
        raw(ok("Transfer-Encoding: chunked") + b"5;", b"a" * 9999),
        "@ cannot be reached: …",
        NetworkFault,
        draft=None,
    ),
    "to a file": Lie(to("file:///etc/passwd"), f"@ sends us to {GONE_ELSEWHERE}"),
    "to a device": Lie(
        to("FILE://localhost/dev/zero"), "@ sends us to …, and only http and https are followed"
    ),
    "to no address": Lie(to("http://[x"), "@ sends us to http://[x, and only http and https are followed"),
    "to bytes": Lie(
        raw(ok("Location: gopher://\xff\x1b]0;x\x07", status="302 Found")),
        "@ sends us to gopher://…, and only http and https are followed",
    ),
    "round and round": Lie(
        to("{here}"),
        "@ sends us from one address to the next, 10 times and more",
    ),
    "commands for a terminal": Lie(
        raw(ok(status="404 \x1b[2J\x1b]0;x\x07\x9b1m")), "@ is not there: it answers 404 …", Gone
    ),
    "no content": Lie(raw(ok(status="304 Not Modified")), "@ answers 304 Not Modified"),
}


def elsewhere(bench: Bench, path: str) -> None:
    bench.upstream.redirect(path, f"{bench.other.url}/data")
    bench.other.replace("/data", OTHER, "application/octet-stream")


FILES = {
    **ANY,
    "other bytes": Lie(
        lambda bench, path: bench.upstream.replace(path, OTHER, "application/octet-stream"),
        f"expected sha256 {SHA256}, found {FOUND}, 100000 bytes",
        hint="holds another file than the one that was pinned",
    ),
    "a page": Lie(
        lambda bench, path: bench.upstream.replace(path, PAGE),
        f"expected sha256 {SHA256}, found {hashlib.sha256(PAGE).hexdigest()}, a web page",
    ),
    "other bytes of another": Lie(
        elsewhere, f"expected sha256 {SHA256}, found {FOUND}, 100000 bytes", hint="holds another file"
    ),
    "a bomb": Lie(
        raw(ok("Content-Encoding: gzip", f"Content-Length: {len(BOMB)}") + BOMB),
        f"expected sha256 {SHA256}, found …, {len(BOMB)} bytes",
    ),
    "truncated": Lie(
        lambda bench, path: bench.upstream.truncate(path, 1000, None), "@ …", NetworkFault, draft=True
    ),
}
SIZED = {
    "no end": Lie(raw(ok(), bytes(1 << 16)), "expected 100000 bytes, found more"),
    "a page without end": Lie(
        raw(ok() + PAGE, b" " * (1 << 16)), "expected 100000 bytes, found more, a web page"
    ),
    "chunks without end": Lie(
        raw(ok("Transfer-Encoding: chunked"), b"8000\r\n" + bytes(0x8000) + b"\r\n"),
        "expected 100000 bytes, found more",
    ),
    "too long": Lie(
        raw(ok("Content-Length: 900000000000"), bytes(1 << 16)),
        "expected 100000 bytes, found 900000000000 bytes",
    ),
    "short": Lie(raw(ok() + DATA[:5000]), "@ ended after 5000 of 100000 bytes", NetworkFault, draft=True),
}
# A bomb is longer than the file that it stands for, and is not unpacked to find that out.
SIZED["a bomb"] = Lie(FILES["a bomb"].tell, f"expected 100000 bytes, found {len(BOMB)} bytes")
ENDLESS = f"@ sends more than {MOST_FILE} bytes, which no such file has"
UNSIZED = {
    "no end": Lie(raw(ok(), bytes(1 << 16)), ENDLESS),
    "too long": Lie(raw(ok("Content-Length: 900000000000"), bytes(1 << 16)), ENDLESS),
}


def serve(bench: Bench, path: str) -> str:
    """Have the upstream hold the file; its address."""
    file = bench.upstream.folder / path[1:]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(DATA)
    return f"{bench.upstream.url}{path}"


def named(what: str, table: Mapping[str, Lie]) -> list[Any]:
    return [pytest.param(what, lie, id=f"{what}-{name}") for name, lie in table.items()]


@pytest.mark.parametrize(
    ("size", "lie"), [*named("sized", {**FILES, **SIZED}), *named("unsized", {**FILES, **UNSIZED})]
)
def test_a_source(bench: Bench, size: str, lie: Lie, capsys: Any) -> None:
    url = serve(bench, "/kit/kit-1.0.tar.gz")
    lie.tell(bench, "/kit/kit-1.0.tar.gz")
    source = SimpleNamespace(address=url, git=None, mirrors=(), sha256=SHA256, commit=None)
    inputs = SimpleNamespace(sources={"kit": source})
    origin: Any = SimpleNamespace(image=SimpleNamespace(recipe="app", inputs=inputs, build_inputs=None))
    known = len(DATA) if size == "sized" else 0
    file = SourceFile(name="kit", version="1.0", file="kit-1.0.tar.gz", sha256=SHA256, bytes=known)

    def fetch() -> None:
        Sources().fetch(file, "app: kit", origin, bench.means)

    told(bench, _of("app: kit", lie), url, fetch, capsys)
    bench.upstream.heal()
    bench.other.heal()
    fetch()  # what lied can be trusted again, and nothing of the lie is in the way
    assert bench.store.has(SHA256)


def _of(what: str, lie: Lie) -> Lie:
    return Lie(lie.tell, f"{what}: {lie.said}", lie.kind, lie.stays, lie.draft, lie.hint)


@pytest.mark.parametrize(("size", "lie"), named("sized", {**FILES, **SIZED}))
def test_a_conda_channel(bench: Bench, size: str, lie: Lie, capsys: Any) -> None:
    url = serve(bench, "/lab/noarch/app-1.0-0.conda")
    lie.tell(bench, "/lab/noarch/app-1.0-0.conda")
    channel, name = f"{bench.upstream.url}/lab", "noarch/app-1.0-0.conda"
    facts: dict[str, Any] = {"name": "app", "version": "1.0", "build": "0", "channel": channel, "file": name}
    file = CondaFile(**facts, sha256=SHA256, bytes=len(DATA))
    origin: Any = SimpleNamespace(image=SimpleNamespace(recipe="app"))
    told(bench, _of("app", lie), url, lambda: Conda().fetch(file, "app", origin, bench.means), capsys)


def page(text: str | bytes, kind: str = "text/html") -> Callable[[Bench, str], None]:
    return lambda bench, path: bench.upstream.replace(path, text, kind)


JSON = "application/vnd.pypi.simple.v1+json"
NO_PAGE = "@ is no page of an index: "
PAGES = {
    **ANY,
    "no end": Lie(raw(ok(), b"<!-- " * 9999), f"@ sends more than the {MIB} bytes that its answer may have"),
    "slow for long": Lie(
        raw(ok(), b"x" * 999, 0.01), "@ sends too slowly: … bytes in 0.5 seconds", NetworkFault
    ),
    "packed": Lie(
        raw(ok("Content-Encoding: gzip", f"Content-Length: {len(BOMB)}") + BOMB),
        "@ answers packed (gzip), which it was asked not to do",
    ),
    "another server": Lie(
        to("{other}/simple/app/"),
        "@ sends us to another server, {other}",
        hint=": {other}}",
    ),
    "truncated": Lie(raw(ok("Content-Length: 90000") + b"<a>"), "@ cannot be reached: …", NetworkFault),
    "many tags": Lie(page("<a>" * 1001), f"{NO_PAGE}it has more than 1000 tags"),
    "deep JSON": Lie(page('{"files":' + "[" * 100_000, JSON), f"{NO_PAGE}…"),
    "JSON of another kind": Lie(page("[1, 2]", JSON), f"{NO_PAGE}…"),
    "millions of files that are none": Lie(
        page(json.dumps({"files": [{}] * 9999, "name": 1}), JSON), f"{NO_PAGE}…"
    ),
    "another version": Lie(
        page(json.dumps({"files": [], "name": "app", "meta": {"api-version": "9.0"}}), JSON), f"{NO_PAGE}…"
    ),
    "no text": Lie(page("\x1b[2J", "application/\x1b[2Joctet-stream"), f"{NO_PAGE}…"),
    "a file of this machine": Lie(
        page('<a href="file:///etc/passwd">app-1.0.tar.gz</a>'),
        "the index says that it is at file:///etc/passwd, and only http and https are followed",
    ),
    "gone": Lie(page('<a href="x">app-2.0.tar.gz</a>'), "the index has no app-1.0.tar.gz any more", Gone),
}


@pytest.mark.parametrize(("what", "lie"), [*named("page", PAGES), *named("file", {**FILES, **SIZED})])
def test_an_index(bench: Bench, what: str, lie: Lie, capsys: Any) -> None:
    home, address = "/simple/app/", serve(bench, "/files/app-1.0.tar.gz")
    bench.upstream.replace(home, f'<a href="{address}">app-1.0.tar.gz</a>')
    url = f"{bench.upstream.url}{home}" if what == "page" else address
    lie.tell(bench, home if what == "page" else "/files/app-1.0.tar.gz")
    file = PipFile(
        name="app", version="1.0", file="app/app-1.0.tar.gz", sha256=SHA256, bytes=len(DATA), index="lab"
    )
    indexes = {"lab": PipIndex(url=f"{bench.upstream.url}/simple", packages=("app",))}
    inputs = SimpleNamespace(pip=SimpleNamespace(indexes=indexes))
    origin: Any = SimpleNamespace(image=SimpleNamespace(inputs=inputs))
    told(bench, _of("app", lie), url, lambda: Pip().fetch(file, "app", origin, bench.means), capsys)


# A registry

CONFIG: dict[str, Any] = {"os": "linux", "architecture": "amd64", "config": {}}
TOKEN, HELLO = "/token", "/v2/"


def realm(text: str) -> Callable[[Bench, str], None]:
    def tell(bench: Bench, path: str) -> None:
        named = text.replace("{other}", bench.other.url)
        bench.upstream.raw(HELLO, ok(f"WWW-Authenticate: {named}", status="401 No"))

    return tell


def gives(token: bytes) -> Callable[[Bench, str], None]:
    def tell(bench: Bench, path: str) -> None:
        assert isinstance(bench.upstream, Registry)
        bench.upstream.token = token

    return tell


NO_TOKEN = "{up}/token gives no token"
NOWHERE = "the registry does not say where it gives tokens: "
TOKENS = {
    **{name: lie for name, lie in ANY.items() if lie.kind is not Gone},
    "no end": Lie(raw(ok(), b"{" * 9999), "@ sends more than the 10000 bytes that its answer may have"),
    "packed": Lie(
        raw(ok("Content-Encoding: br") + BOMB), "@ answers packed (br), which it was asked not to do"
    ),
    "another server": Lie(to("{other}/token"), "@ sends us to another server, {other}"),
    "no JSON": Lie(gives(b"<html>"), NO_TOKEN),
    "deep": Lie(gives(b"[" * 9999), NO_TOKEN),
    "a list": Lie(gives(b"[1]"), NO_TOKEN),
    "a number": Lie(gives(b'{"token": 5}'), NO_TOKEN),
    "more headers": Lie(gives(b'{"token": "x\\r\\nHost: y"}'), NO_TOKEN),
    "realm of a file": Lie(
        realm('Bearer realm="file:///etc/passwd"'),
        "the registry has its tokens from file:///etc/passwd, which is no safe address to ask",
    ),
    "realm that is none": Lie(
        realm('Bearer realm="https://[x"'),
        "the registry has its tokens from https://[x, which is no safe address to ask",
    ),
    "no realm": Lie(realm("Bearer " + "a" * 60_000), f"{NOWHERE}Bearer a…"),
    "commands": Lie(realm('Bearer x="\x1b[2J\x9b"'), f"{NOWHERE}Bearer x=…"),
}


def repeated(**changes: Any) -> Callable[[Bench, str], str]:
    """An image whose manifest says something else than is there."""

    def tell(bench: Bench, path: str) -> str:
        digest = push_image(bench.upstream.folder, "lab/base", [DATA], CONFIG)
        file = bench.upstream.folder / "v2/lab/base/manifests" / digest
        manifest = json.loads(file.read_text())
        manifest["layers"][0] |= changes.pop("layer", {})
        manifest["config"] |= changes.pop("config", {})
        return push_document(bench.upstream.folder, "lab/base", {**manifest, **changes})

    return tell


IMAGES = {
    "a smaller layer": Lie(repeated(layer={"size": 5}), "layer 01: expected 5 bytes, found 100000 bytes"),
    "a large config": Lie(
        repeated(config={"size": 1 << 50}), f"its config would have {1 << 50} bytes, and {MIB} are the most"
    ),
    "no size": Lie(repeated(config={"size": -1}), "the registry's answer is no description of an image"),
    "true as a size": Lie(
        repeated(layer={"size": True}), "the registry's answer is no description of an image"
    ),
    "many layers": Lie(repeated(layers=[{"mediaType": "tar"}] * 6), "it has 6 layers, and 5 are the most"),
    "a digest that leads out": Lie(
        repeated(layer={"digest": "sha256:../../../etc/passwd\x1b[2J"}),
        "its layer 01 has the digest sha256:../../../etc/passwd…, which is no sha256",
    ),
    "a kind that is a command": Lie(
        repeated(layer={"mediaType": "\x1b]0;x\x07" * 999}), "it has a layer that cannot be used: …"
    ),
}


@pytest.mark.parametrize(
    ("what", "lie"),
    [
        *named("token", TOKENS),
        *named(
            "hello",
            {k: ANY[k] for k in ("dribbles headers", "goes on for ever", "many headers", "to a file")},
        ),
        *named("image", IMAGES),
        *named("layer", {**FILES, **SIZED}),
        *named("manifest", {k: lie for k, lie in ANY.items() if lie.kind is not Gone}),
        *named("manifest", {"no end": UNSIZED["no end"], "too long": UNSIZED["too long"]}),
    ],
)
def test_a_registry(bench: Bench, what: str, lie: Lie, capsys: Any) -> None:
    assert isinstance(bench.upstream, Registry)
    bench.upstream.tokens = what == "token"
    home = f"{bench.upstream.url}/v2/lab/base"
    if what == "image":
        digest = str(lie.tell(bench, ""))
        url = home
    else:
        digest = push_image(bench.upstream.folder, "lab/base", [DATA], CONFIG)
        path = {
            "token": TOKEN,
            "hello": HELLO,
            "layer": f"/v2/lab/base/blobs/sha256:{SHA256}",
            "manifest": f"/v2/lab/base/manifests/{digest}",
        }[what]
        lie.tell(bench, path)
        query = "?service=tests&scope=repository%3Alab%2Fbase%3Apull" if what == "token" else ""
        url = f"{bench.upstream.url}{path}{query}"
    name = f"{bench.upstream.host}/lab/base@{digest}"
    part = {"token": ": manifest", "hello": ": manifest", "layer": ": layer 01", "manifest": ": manifest"}
    said = lie.said.replace("{up}", bench.upstream.url).replace(f"{MOST_FILE} bytes", f"{MIB} bytes")
    good = [f.read_bytes() for f in (bench.upstream.folder / "v2").rglob("*") if f.is_file()]
    honest = {hashlib.sha256(data).hexdigest() for data in good} - {SHA256}
    checked = Lie(
        lie.tell, f"base_images/lab: {name}{part.get(what, '')}: ".replace("@", "…") + said, lie.kind,
        tuple(honest), lie.draft, lie.hint,
    )  # fmt: skip
    told(bench, checked, url, lambda: resolve_image(name, "lab", "linux/amd64", bench.means), capsys)


def test_a_disk_is_never_filled(bench: Bench, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a file whose end nobody knows; one of a known size has been given its room before."""
    url = serve(bench, "/kit.tar.gz")
    monkeypatch.setattr(web, "RESERVE", 1 << 60)
    fetch_checked(url, Expected("it", SHA256), bench.means)  # it is small
    bench.store.remove(next(bench.store.files()))
    monkeypatch.setattr(web, "UNWATCHED", 50_000)
    lie = Lie(lambda bench, path: None, "it: @ has sent … bytes, and would fill the disk of …", DiskFull)
    told(bench, lie, url, lambda: fetch_checked(url, Expected("it", SHA256), bench.means), capsys)
    fetch_checked(url, Expected("it", SHA256, len(DATA)), bench.means)


def test_another_part_than_was_asked_for_is_not_appended(bench: Bench) -> None:
    url = serve(bench, "/kit.tar.gz")
    with bench.store.draft(SHA256) as draft:
        draft.write_bytes(DATA[:1000])
    part = ok("Content-Range: bytes 5-99999/100000", status="206 Partial Content") + DATA[5:]
    bench.upstream.raw("/kit.tar.gz", part, times=1)
    fetch_checked(url, Expected("it", SHA256, len(DATA)), bench.means)
    assert bench.store.path(SHA256).read_bytes() == DATA


# Who we are


def logins(bench: Bench, text: str) -> None:
    netrc = bench.folder / "outside" / ".netrc"
    netrc.write_text(text)
    netrc.chmod(0o600)


ME, HOST = "Basic bWU6cGFzcw==", "machine 127.0.0.1 login me password pass\n"


def test_who_we_are_is_told_to_nobody_else(bench: Bench) -> None:
    """Another port is another server, whatever ~/.netrc has for the host."""
    serve(bench, "/kit.tar.gz")
    bench.upstream.redirect("/kit.tar.gz", "/moved")
    bench.upstream.redirect("/moved", f"{bench.other.url.replace('//', '//you:word@')}/data")
    expected = Expected("it", SHA256, len(DATA))
    url = bench.upstream.url
    fetch_checked(f"{url.replace('//', '//me:pass@')}/kit.tar.gz", expected, bench.means)
    assert (bench.upstream.logins, bench.other.logins) == ([ME, ME], [""])
    bench.store.remove(next(bench.store.files()))
    logins(bench, HOST)
    fetch_checked(f"{url}/kit.tar.gz", expected, bench.means)
    assert (bench.upstream.logins[2:], bench.other.logins[1:]) == ([ME, ME], [""])
    bench.store.remove(next(bench.store.files()))
    fetch_checked(f"{url}/kit.tar.gz", expected, bench.means, lambda address: {"Authorization": "Bearer x"})
    assert (bench.upstream.logins[4:], bench.other.logins[2:]) == (["Bearer x"] * 2, [""])


@pytest.mark.parametrize(
    ("netrc", "of_mirror", "there", "asked"),
    [
        ("", "", "127.0.0.1", ""),
        (HOST, "", "127.0.0.1", ME),
        ("", "me:pass@", "127.0.0.1", ME),
        # A registry names another host: what we are there is not for it to use.
        ("machine localhost login me password pass\n", "", "localhost", ""),
        ("machine localhost login me password pass\n", "me:pass@", "localhost", ""),
        (f"machine localhost login me password other\n{HOST}", "", "localhost", ""),
        (f"machine localhost login me password pass\n{HOST}", "", "localhost", ME),
    ],
)
def test_who_asks_for_a_token(bench: Bench, netrc: str, of_mirror: str, there: str, asked: str) -> None:
    assert isinstance(bench.upstream, Registry)
    logins(bench, netrc)
    bench.upstream.tokens = True
    place = bench.upstream.url.replace("127.0.0.1", there)
    hello = ok(f'WWW-Authenticate: Bearer realm="{place.replace("//", "//x:y@")}/token"', status="401 No")
    bench.upstream.raw(HELLO, hello)
    digest = push_image(bench.upstream.folder, "lab/base", [DATA], CONFIG)
    mirror = bench.upstream.url.replace("//", f"//{of_mirror}")
    bench.settings["mirrors"] = {"https://registry.example.org": mirror}
    resolve_image(f"registry.example.org/lab/base@{digest}", "lab", "linux/amd64", bench.means)
    pairs = zip(bench.upstream.requests, bench.upstream.logins, strict=True)
    assert {login for request, login in pairs if request.startswith("GET /token")} == {asked}


def test_a_token_is_not_sent_on(bench: Bench) -> None:
    assert isinstance(bench.upstream, Registry)
    bench.upstream.tokens = True
    digest = push_image(bench.upstream.folder, "lab/base", [DATA], CONFIG)
    bench.upstream.redirect(f"/v2/lab/base/blobs/sha256:{SHA256}", f"{bench.other.url}/data")
    resolve_image(f"{bench.upstream.host}/lab/base@{digest}", "lab", "linux/amd64", bench.means)
    assert "Bearer for-anybody" in bench.upstream.logins
    assert bench.other.logins == [""]


def test_https_is_not_left(bench: Bench, capsys: Any) -> None:
    authority = pytest.importorskip("trustme").CA()
    bundle = bench.folder / "outside" / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    bench.settings["ca_bundle"] = str(bundle)
    with Upstream(bench.upstream.folder, tls=authority) as secure:
        secure.redirect("/kit.tar.gz", f"{bench.other.url}/data")
        site = Site(store=bench.store.folder, ca_bundle=bundle)
        means: Any = SimpleNamespace(**{**vars(bench.means), "site": site, "web": Web(site, Stop())})
        lie = Lie(lambda bench, path: None, "it: @ sends us from https to http: {other}/data")
        told(
            bench, lie, f"{secure.url}/kit.tar.gz",
            lambda: fetch_checked(f"{secure.url}/kit.tar.gz", Expected("it", SHA256), means), capsys,
        )  # fmt: skip
    assert bench.other.requests == []


def test_an_index_on_the_same_server_may_move(bench: Bench) -> None:
    bench.upstream.redirect("/simple/app/", "/other/app/")
    bench.upstream.replace("/other/app/", '<a href="app-1.0.tar.gz">app-1.0.tar.gz</a>')
    indexes = {"lab": PipIndex(url=f"{bench.upstream.url}/simple", packages=("app",))}
    found = file_address("app", "app-1.0.tar.gz", "lab", indexes, "app", bench.means)
    by = f"{bench.upstream.url}/simple/app/"
    assert found == (f"{bench.upstream.url}/other/app/app-1.0.tar.gz", by)
