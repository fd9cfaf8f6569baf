"""Upstreams that lie while a resolver asks them: each lie is one line for people, and leaves nothing."""

from __future__ import annotations

import bz2
import contextlib
import dataclasses
import hashlib
import io
import json
import lzma
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from imagefactory.errors import BuildFailed, DiskFull, Gone, NetworkFault, Unsolvable
from imagefactory.inputs import index_route
from imagefactory.inputs.asking import answer_of
from imagefactory.inputs.debian import archives, default_sources, lock_base
from imagefactory.inputs.index_route import IndexRoute
from imagefactory.inputs.kinds import KINDS
from imagefactory.inputs.pip import Pip
from imagefactory.inputs.protocol import Means, Wanted
from imagefactory.inputs.sources import Sources
from imagefactory.inputs.uv import Request, resolve
from imagefactory.inputs.wheels import Interpreter
from imagefactory.model.lock import PipFile, SourceFile
from imagefactory.model.recipe import BaseImage, Conda, Inputs, PipIndex, Release
from imagefactory.sandbox import Errand, Limits, Question, Relay
from imagefactory.system import web
from imagefactory.targets.base.ask import _failure
from tests.engines.resolving import (
    ELSEWHERE,
    FULL,
    TO_FILE,
    Bench,
    Lie,
    bench,
    does,
    named,
    ok,
    told,
)
from tests.unit.samples import base_lock, definition, image
from tests.upstreams.channel import Package, make_channel
from tests.upstreams.index import make_index, make_sdist, make_wheel
from tests.upstreams.lying_git import advertisement, odd_commit, pack_begins, pack_goes_on, reference
from tests.upstreams.repository import make_repository

__all__ = ["bench"]  # a fixture


@pytest.fixture(autouse=True)
def engines() -> None:
    """These tests need no engine."""


# A git server

NO_COMMIT = "a" * 40
REFS, PACK = "/app.git/info/refs", "/app.git/git-upload-pack"
ADVERTISED, RESULT = "application/x-git-upload-pack-advertisement", "application/x-git-upload-pack-result"
EMPTY = "@/app.git has no branch and no tag: it is no git repository, or an empty one"
REFUSED = "the repository @/app.git holds what git refuses: "
UPDATE = b'[submodule "x"]\n\tpath = x\n\turl = https://git.example.org/x\n\tupdate = !touch /tmp/egg\n'


def holds(*entries: tuple[str, bytes, bytes]) -> Callable[[Bench], None]:
    return lambda bench: bench.settings.update(commit=odd_commit(bench.home / "app.git", *entries))


def file(name: bytes, content: bytes = b"x") -> Callable[[Bench], None]:
    return holds(("file", name, content))


def asked_for(commit: str) -> Callable[[Bench], None]:
    return lambda bench: bench.settings.update(commit=commit)


def old_server(again: bytes, pause: float = 0.0) -> Callable[[Bench], None]:
    """One of the first protocol, whose pack begins, and goes on so."""

    def tell(bench: Bench) -> None:
        said = advertisement(reference(bench.settings["commit"])) + b"0000"
        bench.up.replace(REFS, said, ADVERTISED)
        bench.up.raw(PACK, ok(RESULT) + pack_begins(), again, pause)

    return tell


def alternates(bench: Bench) -> None:
    """All its objects are said to be at the other server."""
    bench.up._git = None
    objects = bench.home / "app.git" / "objects"
    for folder in objects.glob("??"):
        shutil.rmtree(folder)
    (objects / "info" / "http-alternates").write_text(f"{bench.other.url}/app.git/objects\n")


def as_files(tell: Callable[[Bench], object]) -> Callable[[Bench], None]:
    def both(bench: Bench) -> None:
        bench.up._git = None
        tell(bench)

    return both


GIT = {
    "another commit": Lie(
        asked_for(NO_COMMIT), f"the repository @/app.git has no commit {NO_COMMIT}", hint="'commit'"
    ),
    "a fault, then another commit": Lie(
        lambda bench: (does("fail", PACK, 500, 1)(bench), asked_for(NO_COMMIT)(bench)),
        f"the repository @/app.git has no commit {NO_COMMIT}",
    ),
    "a way out": Lie(file(b".."), f"{REFUSED}hasDotdot: contains '..'", hint="another commit"),
    "a way out, as files": Lie(as_files(file(b"..")), f"{REFUSED}invalid path '..'"),
    "git's own folder": Lie(file(b".GIT"), f"{REFUSED}hasDotgit: contains '.git'"),
    "from the root": Lie(file(b"/etc/passwd"), f"{REFUSED}fullPathname: contains full pathnames"),
    "a command for a terminal": Lie(
        file(b"a\x1b[2J\nb"), "the commit holds 'a\\x1b[2J\\nb', which no source may hold"
    ),
    "a link to a command for a terminal": Lie(
        holds(("link", b"l", b"\x1b[2J")), "the commit holds 'l', which no source may hold"
    ),
    "a submodule": Lie(
        holds(("module", b"a\x1b[2J", NO_COMMIT.encode())),
        "'a\\x1b[2J' is a submodule, which is not fetched",
        hint="declare it",
    ),
    "a command of a submodule": Lie(
        file(b".gitmodules", UPDATE),
        f"{REFUSED}gitmodulesUpdate: disallowed submodule update setting: !touch …",
    ),
    "a bomb": Lie(lambda bench: file(b"b", bytes(100 << 20))(bench), FULL, DiskFull, hint="really so large"),
    "objects elsewhere": Lie(
        alternates, "error: Unable to find … under @/app.git", tail="alternate disabled"
    ),
    "truncated": Lie(does("truncate", PACK, 100, None), f"@{PACK} cannot be reached: …", NetworkFault),
    "says nothing": Lie(does("raw", PACK, b""), f"@{PACK} cannot be reached: …", NetworkFault),
    "a pack without end": Lie(old_server(pack_goes_on()), "…", DiskFull),
    "a slow pack": Lie(old_server(b"0005\x02", 0.02), f"@{PACK} sends too slowly: …", NetworkFault),
    "garbage": Lie(
        old_server(b"\x1b[2J\xff" * 99),
        "fatal: protocol error: bad line length character: …",
        NetworkFault,
    ),
    "no references": Lie(
        does("replace", REFS, b"\x1b[2J nonsense", ADVERTISED),
        "fatal: protocol error: bad line length character: …",
    ),
    "a page": Lie(does("replace", REFS, "<html>log in</html>"), EMPTY, hint="with a browser"),
    "a page, as files": Lie(as_files(does("replace", REFS, "<html>log in</html>")), EMPTY),
    "a pack that is a page": Lie(
        does("replace", PACK, "<html>log in</html>"),
        "fatal: …bad line length character: <htm",
        hint="the address",
    ),
    "references of another kind": Lie(
        does("replace", REFS, advertisement(reference(NO_COMMIT)), "text/plain"), "…", tail="info/refs"
    ),
    "an error of its own": Lie(
        does("replace", REFS, advertisement(b"ERR \x1b[2Jcome here\n"), ADVERTISED),
        "fatal: remote error: …come here",
    ),
    "references without end": Lie(
        does("raw", REFS, ok(ADVERTISED) + advertisement(), b"003e" + b"a" * 40 + b" refs/heads/aaaaaa\n"),
        f"took longer than 0.05 minutes, and was ended while it waited for @{REFS}",
        seconds=3,
    ),
    "another server": Lie(does("redirect", REFS, "{other}/x"), ELSEWHERE, hint="mirrors: {@: {other}}"),
    "to a file": Lie(does("redirect", REFS, "file:///etc/passwd"), TO_FILE),
    "asks who we are": Lie(
        does("require", "/app.git", "me", "pass"),
        "@{path} refuses: it answers 401 Unauthorized",
        hint="~/.netrc",
    ),
    "gone": Lie(does("fail", REFS, 404, None), "fatal: repository '@/app.git' not found", Gone),
    "at fault": Lie(does("fail", REFS, 500, None), "@{path} answers 500 …", NetworkFault, hint="later"),
    "a teapot": Lie(does("fail", REFS, 418, None), "fatal: unable to access '@/app.git': … error: 418"),
}


@pytest.mark.parametrize("lie", named(GIT))
def test_a_git_server(bench: Bench, lie: Lie, capsys: Any) -> None:
    bench.settings["commit"] = make_repository(bench.home / "app.git", {"a.txt": "a\n"})
    said = Lie(lie.tell, f"app: kit: {lie.said}", lie.kind, lie.hint, lie.tail, lie.seconds)
    told(bench, said, lambda means: fetch_commit(bench, means), capsys, f"{REFS}?service=git-upload-pack")
    assert not [asked for asked in bench.other.requests if "/app.git/objects/" in asked]


def fetch_commit(bench: Bench, means: Means) -> str:
    """The tree of the commit that a bench has, in the store."""
    url, commit = f"{bench.up.url}/app.git", bench.settings["commit"]
    source = SimpleNamespace(address=url, git=url, mirrors=(), sha256=None, commit=commit)
    inputs = SimpleNamespace(sources={"kit": source})
    origin: Any = SimpleNamespace(image=SimpleNamespace(recipe="app", inputs=inputs, build_inputs=None))
    pinned = SourceFile(name="kit", version="1", file="app.git", commit=commit)
    return Sources().fetch(pinned, "app: kit", origin, means)


def test_links_of_a_commit_are_content(bench: Bench) -> None:
    """Wherever they lead: nobody follows them here, and in the image they lead to what that has."""
    make_repository(bench.home / "app.git", {})
    holds(("link", b"away", b"../../x"), ("link", b"root", b"/etc/passwd"))(bench)
    means, _ = bench.means()
    with tarfile.open(means.store.path(fetch_commit(bench, means))) as tree:
        found = [(member.name, member.linkname, member.issym()) for member in tree]
    assert found == [("away", "../../x", True), ("root", "/etc/passwd", True)]


# A Python index

PYTHON = Interpreter((3, 11), (2, 36), "x86_64")
JSON = "application/vnd.pypi.simple.v1+json"
PAGE, WHEEL = "/simple/app/", "app-1.0-py3-none-any.whl"
METADATA = f"{PAGE}{WHEEL}.metadata"
TOGETHER = "these Python packages cannot be had together"
UV = "uv cannot use what the indexes give: "
UNPACKED = f"{UV}Failed to download and build `app==2.0`: …"
HEAD = "Metadata-Version: 2.1\nName: app\nVersion: 1.0\n"
SENT = f"{{}}: app-1.0-py3-none-any.whl.metadata: @{METADATA}"


def page(**fields: object) -> Callable[[Bench], None]:
    """A page with one file, of which it says that."""

    def tell(bench: Bench) -> None:
        row = {"filename": WHEEL, "url": WHEEL, "hashes": {"sha256": "0" * 64}, **fields}
        said = json.dumps({"meta": {"api-version": "1.1"}, "name": "app", "versions": [], "files": [row]})
        bench.up.replace(PAGE, said.replace("{other}", bench.other.url), JSON)

    return tell


def metadata(text: str) -> Callable[[Bench], object]:
    wheel = dataclasses.replace(make_wheel("app", "1.0", {"a.py": ""}), metadata=text.encode())
    return lambda bench: make_index(bench.home / "simple", [wheel])


def wheel(data: bytes) -> Callable[[Bench], object]:
    found = dataclasses.replace(make_wheel("app", "1.0", {"a.py": ""}), data=data, metadata=b"")
    return lambda bench: make_index(bench.home / "simple", [found])


def sdist(
    name: str, kind: bytes = tarfile.REGTYPE, target: str = "", size: int = 1
) -> Callable[[Bench], object]:
    """One that can be built, and holds that as well."""
    honest, packed = make_sdist("app", "2.0", {"a.py": ""}, ()), io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as archive:
        with tarfile.open(fileobj=io.BytesIO(honest.data)) as given:
            for member in given:
                archive.addfile(member, given.extractfile(member))
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname, entry.size = kind, target, size if kind == tarfile.REGTYPE else 0
        archive.addfile(entry, io.BytesIO(bytes(entry.size)))
    found = dataclasses.replace(honest, data=packed.getvalue())
    return lambda bench: make_index(bench.home / "simple", [found])


def zip_bomb() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("app-1.0.dist-info/METADATA", bytes(64 << 20))
        archive.writestr("app-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\n")
    return packed.getvalue()


INDEX = {
    "a page without end": Lie(
        does("raw", PAGE, ok("text/html"), b"<!-- " * 9999),
        "@{path} sends more than … bytes that its answer may have",
    ),
    "a slow page": Lie(
        does("raw", PAGE, ok("text/html"), b"x", 0.02), "@{path} sends too slowly: …", NetworkFault
    ),
    "no answer": Lie(does("raw", PAGE, b""), "@{path} cannot be reached: …", NetworkFault),
    "no page": Lie(does("replace", PAGE, "\x1b[2J", "image/png"), "@{path} is no page of an index: …"),
    "a page elsewhere": Lie(does("redirect", PAGE, "{other}/x"), ELSEWHERE, hint="mirrors: {@: {other}}"),
    "a page that is a file": Lie(does("redirect", PAGE, "file:///etc/passwd"), TO_FILE),
    "asks who we are": Lie(does("require", "/simple", "me", "pass"), "@{path} refuses: …", hint="~/.netrc"),
    "another page the next time": Lie(
        does("fail", PAGE, 404, 1), TOGETHER, Unsolvable, tail="app was not found"
    ),
    "another name": Lie(
        metadata(HEAD.replace("app", "other")),
        f"{UV}Package metadata name `other` does not match given name `app`",
    ),
    "a file of this machine": Lie(
        metadata(f"{HEAD}Requires-Dist: x @ file:///etc/passwd\n"),
        f"{UV}Failed to resolve …: Package `x` was included …",
    ),
    "a repository": Lie(
        metadata(f"{HEAD}Requires-Dist: x @ git+https://git.example.org/x\n"), f"{UV}Failed to resolve …"
    ),
    "the relay itself": Lie(
        metadata(f"{HEAD}Requires-Dist: x @ http://127.0.0.1:8000/0/files/app/{WHEEL}\n"),
        f"{UV}…Consider adding `x … @{PAGE}{WHEEL}` …",
    ),
    "no metadata": Lie(metadata("\x1b[2J\0 nonsense"), TOGETHER, Unsolvable, tail="invalid metadata"),
    "metadata gone": Lie(does("fail", METADATA, 404, None), f"{UV}Failed to fetch: @{METADATA}: …404…"),
    "metadata without end": Lie(
        does("raw", METADATA, ok(), b"x" * 60_000),
        f"@{METADATA} sends more than 1048576 bytes, which no metadata have",
    ),
    "slow metadata": Lie(
        does("raw", METADATA, ok(), b"x", 0.02),
        f"{WHEEL}.metadata: @{METADATA} sends too slowly: …",
        NetworkFault,
    ),
    "metadata that are a file": Lie(
        does("redirect", METADATA, "file:///etc/passwd"),
        f"{WHEEL}.metadata: @{METADATA} sends us to file:///etc/…",
    ),
    "other metadata": Lie(
        page(**{"core-metadata": {"sha256": "1" * 64}}),
        f"{UV}Hash mismatch for package metadata at `@{METADATA}`",
    ),
    "a way out": Lie(sdist("../../../etc/egg"), UNPACKED, tail="parent-directory"),
    "from the root": Lie(sdist("/job/egg"), UNPACKED, tail="is absolute"),
    "a link": Lie(sdist("app-2.0/l", tarfile.SYMTYPE, "/etc/passwd"), UNPACKED, tail="unsafe symbolic-link"),
    "a hard link": Lie(sdist("app-2.0/l", tarfile.LNKTYPE, "/etc/passwd"), UNPACKED, tail="unsafe hard-link"),
    "a device": Lie(sdist("app-2.0/d", tarfile.CHRTYPE), UNPACKED, tail="CharacterDevice"),
    "a pipe": Lie(sdist("app-2.0/d", tarfile.FIFOTYPE), UNPACKED, tail="Fifo"),
    "a bomb": Lie(sdist("app-2.0/b", size=100 << 20), FULL, DiskFull),
    "no zip": Lie(wheel(b"nonsense"), f"{UV}Failed to unzip wheel: {WHEEL}: …"),
    "a zip bomb": Lie(wheel(zip_bomb()), TOGETHER, Unsolvable, tail="invalid metadata"),
    "a file at file:": Lie(
        page(url="file:///etc/passwd"), TOGETHER, Unsolvable, hint="is at file:///etc/passwd, and only http"
    ),
    "a command for a terminal": Lie(
        page(filename="app-2.0\x1b[2J.tar.gz"),
        TOGETHER,
        Unsolvable,
        hint="no file can be called 'app-2.0\\x1b[2J",
    ),
    "a name that leads out": Lie(
        page(filename="../app-2.0.tar.gz"), TOGETHER, Unsolvable, hint="no file can be called '../app"
    ),
    "no sha256": Lie(page(hashes={}), f"the index gives no sha256 of {WHEEL}", hint="another index"),
    "a short sha256": Lie(
        page(hashes={"sha256": "abc"}), f"{UV}Received some unexpected JSON from `@{PAGE}`: …"
    ),
}


@pytest.mark.parametrize("lie", named(INDEX))
def test_an_index(bench: Bench, lie: Lie, capsys: Any) -> None:
    make_index(bench.home / "simple", [make_wheel("app", "1.0", {"a.py": ""})])
    bench.index = f"{bench.up.url}/simple"
    said = dataclasses.replace(lie, said=f"it: {lie.said}")
    told(bench, said, lambda means: resolve(Request(["app"], PYTHON), "it", means), capsys, PAGE)
    assert bench.other.requests == []


def test_who_we_are_at_an_index_is_told_to_nobody_else(bench: Bench, capsys: Any) -> None:
    netrc = bench.folder / "outside" / ".netrc"
    netrc.write_text("machine localhost login me password word\n")
    netrc.chmod(0o600)
    bench.index = f"{bench.up.url}/simple".replace("//", "//me:secret@").replace("127.0.0.1", "localhost")
    lie = Lie(page(url=f"{{other}}/{WHEEL}"), f"it: {UV}Failed to fetch: {{other}}/{WHEEL}: …")
    told(bench, lie, lambda means: resolve(Request(["app"], PYTHON), "it", means), capsys)
    assert set(bench.other.logins) == {""}
    assert "" not in bench.up.logins


PUBLIC, PUBLIC_TOO = "93.184.215.14", "93.184.215.15"


def asks_index(bench: Bench, path: str, *, method: str = "GET") -> tuple[int, bytes]:
    """What a sandbox gets, after the page."""
    means, _ = bench.means()
    route = IndexRoute(bench.index or f"{bench.up.url}/simple", "it", means)
    with route.reply(Question("GET", "simple/app/", "", {})):
        pass
    with route.reply(Question(method, path, "", {})) as reply:
        return reply.status, b"".join(reply.body)


def fetches(bench: Bench) -> None:
    """The locked file, as the index names it."""
    means, _ = bench.means()
    file = PipFile(name="app", version="1.0", file=f"app/{WHEEL}", sha256="0" * 64, bytes=6, index="lab")
    pip = SimpleNamespace(indexes={"lab": PipIndex(url=f"{bench.up.url}/simple", packages=("app",))})
    origin: Any = SimpleNamespace(image=SimpleNamespace(inputs=SimpleNamespace(pip=pip)))
    Pip().fetch(file, "it: app", origin, means)


@pytest.fixture
def public_index(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """One whose answers seem to come from the internet."""
    port, peer = int(bench.up.url.rpartition(":")[2]), web._peer
    monkeypatch.setattr(web, "_peer", lambda got: PUBLIC if f":{port}/" in got.url else peer(got))
    (bench.other.folder / "secret").write_text("canary")
    return bench


NAMED = "it: {}: {} names {}, which is an address of this {}: not asked"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("{other}/secret", "machine"),
        ("http://169.254.169.254/latest/meta-data/", "machine"),
        ("http://[::ffff:127.0.0.1]:9/x", "machine"),
        ("http://2130706433:9/x", "machine"),
        ("http://0:9/x", "machine"),
        ("http://10.0.0.1/x", "network"),
    ],
)
@pytest.mark.parametrize("way", ["relay", "download"])
@pytest.mark.parametrize("redirected", [True, False])
def test_an_index_of_the_internet_names_nothing_of_this_machine(
    public_index: Bench, url: str, place: str, way: str, redirected: bool
) -> None:
    bench, url = public_index, url.replace("{other}", public_index.other.url)
    page(url=WHEEL if redirected else url)(bench)
    bench.up.redirect(f"{PAGE}{WHEEL}", url)
    with pytest.raises(BuildFailed) as caught:
        fetches(bench) if way == "download" else asks_index(bench, f"files/app/{WHEEL}")
    what = "app" if way == "download" else WHEEL
    assert caught.value.message == NAMED.format(what, bench.up.url, url, place)
    assert "mirrors: {" in caught.value.hint
    assert bench.other.requests == []


def test_a_name_that_leads_elsewhere_when_it_is_asked_is_given_nothing(
    public_index: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = public_index
    monkeypatch.setattr(web, "addresses_of", lambda host, literal: [PUBLIC_TOO])
    page(url=f"{bench.other.url}/secret")(bench)
    with pytest.raises(BuildFailed, match="which is an address of this machine: not asked"):
        asks_index(bench, f"files/app/{WHEEL}")


def test_an_index_that_is_this_machine_from_now_on_is_given_nothing(
    public_index: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, peers = public_index, iter([PUBLIC, "127.0.0.1"])
    monkeypatch.setattr(web, "_peer", lambda got: next(peers))
    page()(bench)
    with pytest.raises(BuildFailed, match="which is an address of this machine: not asked"):
        asks_index(bench, f"files/app/{WHEEL}")


def test_a_server_that_the_site_names_may_be_named(public_index: Bench) -> None:
    bench = public_index
    bench.settings["mirrors"] = {"https://files.example.org": (bench.other.url,)}
    page(url=f"{bench.other.url}/secret")(bench)
    assert asks_index(bench, f"files/app/{WHEEL}") == (200, b"canary")


def test_behind_a_proxy_an_address_is_judged_and_a_name_is_not(public_index: Bench) -> None:
    means, _ = public_index.means()
    site = dataclasses.replace(means.site, proxies={"http_proxy": "http://127.0.0.1:9"})
    asked = web.Web(site, means.stop)
    for url, said in (
        ("http://127.1/x", "this machine: not asked"),
        ("http://localhost/x", "this machine: not asked"),
        ("http://10.0.0.1/x", "this network: not asked"),
        ("http://files.invalid/x", "the proxy does not let us"),
    ):
        with (
            pytest.raises(BuildFailed, match=said),
            asked.opened(url, "it", named_by="http://index.invalid/simple/app/"),
        ):
            pass


def test_an_index_by_https_names_nothing_by_http(public_index: Bench) -> None:
    means, _ = public_index.means()
    with (
        pytest.raises(BuildFailed, match=r"which is not https as it is itself: not asked"),
        means.web.opened(f"http://{PUBLIC}/x", "it", named_by=f"https://{PUBLIC_TOO}/simple/app/"),
    ):
        pass


@pytest.mark.parametrize("first_has_login", [True, False])
def test_a_file_is_asked_for_as_whoever_we_are_to_the_mirror_that_names_it(
    bench: Bench, first_has_login: bool
) -> None:
    """The first mirror has no such page; the second one's has a file at the first, or at itself."""
    first, second = bench.other, bench.up
    first.fail("/simple/*", 404, None)
    (first.folder / "private").write_text("private")
    (second.folder / WHEEL).write_text("here")
    page(url=f"{first.url}/private" if first_has_login else f"{second.url}/{WHEEL}")(bench)
    with_login = (first if first_has_login else second).url
    mirrors = tuple(
        url.replace("//", "//bot:pass-word-1@") if url == with_login else url
        for url in (first.url, second.url)
    )
    bench.settings["mirrors"] = {"https://pypi.example.org": mirrors}
    bench.index = "https://pypi.example.org/simple"
    assert asks_index(bench, f"files/app/{WHEEL}")[0] == 200
    server, path = (first, "/private") if first_has_login else (second, f"/{WHEEL}")
    logins = [
        login for asked, login in zip(server.requests, server.logins, strict=True) if asked.endswith(path)
    ]
    assert [bool(login) for login in logins] == [not first_has_login]


@pytest.mark.parametrize("path", ["simple/app/", f"files/app/{WHEEL}"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_an_index_is_only_read(bench: Bench, path: str, method: str) -> None:
    bench.index = f"{bench.up.url}/simple"
    page()(bench)
    with pytest.raises(Gone):
        asks_index(bench, path, method=method)
    assert len(bench.up.requests) == 1


@pytest.mark.parametrize("bound", ["_MAX_SEEN", "_MAX_LETTERS"])
def test_what_is_kept_of_an_index_has_a_bound(
    bench: Bench, bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.index = f"{bench.up.url}/simple"
    page()(bench)
    weight = {"_MAX_SEEN": 2, "_MAX_LETTERS": 3 + len(WHEEL) + len(f"{bench.up.url}{PAGE}{WHEEL}")}[bound]
    means, _ = bench.means()
    route = IndexRoute(bench.index, "it", means)
    asked = Question("GET", "simple/app/", "", {})
    for most in (weight, weight, weight - 1):  # a page that is asked for again counts once
        monkeypatch.setattr(index_route, bound, most)
        with pytest.raises(BuildFailed) if most < weight else contextlib.nullcontext(), route.reply(asked):
            pass
    assert route.seen == {}


# A conda channel

SUBDIR = "/lab/linux-64/"
CONDA = "rattler cannot use what the channels give: "
PACKAGES = "these packages cannot be had together"
CHANNEL = "the channel https://conda.example.org/lab"
ARCHIVE = "app-1.0-0.tar.bz2"


def repodata(text: str | bytes, suffix: str = "") -> Callable[[Bench], None]:
    """A channel that has no shards."""

    def tell(bench: Bench) -> None:
        for name in ("linux-64", "noarch"):
            folder = bench.home / "lab" / name
            shutil.rmtree(folder)
            folder.mkdir()
        (bench.home / "lab/noarch/repodata.json").write_text('{"info": {"subdir": "noarch"}, "packages": {}}')
        said = text.replace("{other}", bench.other.url).encode() if isinstance(text, str) else text
        (bench.home / f"lab/linux-64/repodata.json{suffix}").write_bytes(said)

    return tell


def record(file: str = ARCHIVE, base_url: str = "", **fields: object) -> Callable[[Bench], None]:
    row = {"name": "app", "version": "1.0", "build": "0", "build_number": 0, "depends": []}
    row |= {"subdir": "linux-64", "sha256": "a" * 64, "size": 5, **fields}
    info = {"subdir": "linux-64"} | ({"base_url": base_url} if base_url else {})
    packages = {file: {key: value for key, value in row.items() if value is not None}}
    return repodata(
        json.dumps({"info": info, "packages": packages, "packages.conda": {}, "repodata_version": 2})
    )


def zst_bomb() -> bytes:
    """A frame of blocks that are one byte, repeated (RFC 8878, 3.1.1.2)."""
    block = ((128 << 10 << 3) | 2).to_bytes(3, "little") + b" "
    return b"\x28\xb5\x2f\xfd\x00\x58" + block * 800 + ((1 << 3) | 3).to_bytes(3, "little") + b" "


def shards(**info: str) -> Callable[[Bench], None]:
    """A channel of shards, which says that of itself: MessagePack in a frame of one block as it is."""

    def text(said: str) -> bytes:
        return b"\xd9" + bytes([len(said)]) + said.encode()

    def tell(bench: Bench) -> None:
        facts = {"subdir": "linux-64", "base_url": "", "shards_base_url": "./shards/"} | info
        pairs = [text(key) + text(value.replace("{other}", bench.other.url)) for key, value in facts.items()]
        said = b"\x82" + text("info") + bytes([0x80 | len(pairs)]) + b"".join(pairs)
        said += text("shards") + b"\x81" + text("app") + b"\xc4\x20" + bytes(32)
        block = ((len(said) << 3) | 1).to_bytes(3, "little")
        repodata("")(bench)
        place = bench.home / "lab/linux-64/repodata_shards.msgpack.zst"
        place.write_bytes(b"\x28\xb5\x2f\xfd\x00\x58" + block + said)

    return tell


SHARDS = f"@{SUBDIR}repodata_shards.msgpack.zst"
CONDA_LIES = {
    "without end": Lie(
        lambda bench: (
            repodata("")(bench),
            does("raw", f"{SUBDIR}repodata.json", ok("application/json"), b" " * 60_000)(bench),
        ),
        FULL,
        DiskFull,
    ),
    "slow": Lie(does("raw", f"{SUBDIR}*", ok(), b"x", 0.02), f"{SHARDS} sends too slowly: …", NetworkFault),
    "truncated": Lie(
        does("truncate", f"{SUBDIR}*", 10, None), f"{SHARDS} cannot be reached: …", NetworkFault
    ),
    "a page": Lie(
        does("replace", f"{SUBDIR}*", "<html>"), f"{CONDA}failed to decode zstd shard from '{SHARDS}'…"
    ),
    "deep": Lie(repodata('{"info":' + '{"a":' * 99_999), f"{CONDA}failed to parse repodata.json: …"),
    "no JSON": Lie(repodata("\x1b[2J"), f"{CONDA}failed to parse repodata.json: …"),
    "a bomb": Lie(repodata(bz2.compress(bytes(100 << 20)), ".bz2"), FULL, DiskFull),
    "another bomb": Lie(repodata(zst_bomb(), ".zst"), FULL, DiskFull),
    "a way out": Lie(record(f"../../{ARCHIVE}"), PACKAGES, Unsolvable, tail="No candidates"),
    "a command in a name": Lie(
        record("app-1.0-0\x1b[2J.tar.bz2"), f"{CONDA}failed to parse repodata.json: …"
    ),
    "a command in a version": Lie(record(version="1\x1b[2J"), f"{CONDA}…: malformed version string…"),
    "a command in a build": Lie(
        record(build="0\x1b[2J"),
        f"{CHANNEL} says of 'linux-64/{ARCHIVE}' what can be of no package: its build",
        hint="look at the channel",
    ),
    "no sha256": Lie(record(sha256=None), f"{CHANNEL} gives no sha256 for 'linux-64/{ARCHIVE}'"),
    "a short sha256": Lie(record(sha256="abc"), f"{CONDA}…: failed to parse digest …"),
    "a negative size": Lie(record(size=-5), f"{CONDA}…: invalid value: integer `-5`, …"),
    "files elsewhere": Lie(record(base_url="{other}/x/"), f"{CONDA}app is elsewhere: {{other}}/x/{ARCHIVE}"),
    "files of this machine": Lie(record(base_url="file:///etc/"), f"{CONDA}app is elsewhere: …{ARCHIVE}"),
    "no such shard": Lie(shards(), f"{CONDA}…@{SUBDIR}shards/{'0' * 64}.msgpack.zst…"),
    "shards elsewhere": Lie(shards(shards_base_url="{other}/x/"), f"{CONDA}…"),
    "shards of this machine": Lie(shards(shards_base_url="file:///etc/"), f"{CONDA}…"),
    "another server": Lie(
        does("redirect", f"{SUBDIR}*", "{other}/x"), f"{SHARDS} sends us to another server, {{other}}"
    ),
    "to a file": Lie(
        does("redirect", f"{SUBDIR}*", "file:///etc/passwd"), f"{SHARDS} sends us to file:///etc/…"
    ),
    "asks who we are": Lie(
        does("require", SUBDIR, "me", "pass"), f"{SHARDS} refuses: it answers 401 …", hint="~/.netrc"
    ),
    "gone": Lie(
        does("fail", "/lab/*", 404, None), f"{CONDA}could not find subdir … in channel '@/lab…", tail="404"
    ),
    "a fault, then nothing": Lie(
        lambda bench: (record(name="b")(bench), does("fail", f"{SUBDIR}repodata.json", 500, 1)(bench)),
        PACKAGES,
        Unsolvable,
    ),
}


@pytest.mark.parametrize("lie", named(CONDA_LIES))
def test_a_conda_channel(bench: Bench, lie: Lie, capsys: Any) -> None:
    make_channel(bench.home / "lab", [Package("app", "1.0", subdir="linux-64")])
    bench.settings["mirrors"] = {"https://conda.example.org": bench.up.url}
    said = dataclasses.replace(lie, said=f"recipes/app: app: conda packages: {lie.said}")
    told(bench, said, lambda means: lock_conda(means), capsys)
    assert bench.other.requests == []


def lock_conda(means: Means) -> Any:
    inputs = Inputs(conda=Conda(channels=("https://conda.example.org/lab",), packages=("app",)))
    wanted: Any = Wanted(image(inputs=inputs), definition(), base_lock(), None, None, {})  # type: ignore[arg-type]
    return KINDS["conda"].lock(wanted, means)


@pytest.mark.parametrize("url", ["https://other.example.org/app.tar.bz2", "file:///etc/passwd"])
def test_an_address_in_a_record_is_not_followed(bench: Bench, url: str) -> None:
    make_channel(bench.home / "lab", [])
    bench.settings["mirrors"] = {"https://conda.example.org": bench.up.url}
    record(url=url)(bench)
    (found,) = lock_conda(bench.means()[0])["image"]
    assert found.file == f"linux-64/{ARCHIVE}"


# A Debian archive

BOOKWORM = Release("debian", "bookworm")
SUITES = ("bookworm", "bookworm-updates", "bookworm-security")
DISTS = "/dists/bookworm/"
PACKAGES_FILE = f"{DISTS}main/binary-amd64/Packages"
WRONG = "the archives cannot be used: "
# As the base image is asked, but by this machine's apt, which needs no tree to run in.
_ASK_HERE = """\
mkdir -p ask/answer state/lists/partial cache/archives/partial
cp /in/question/* ask
sed -i s,/ask/,/job/ask/, ask/apt.conf
cat >>ask/apt.conf <<'END'
Dir::State "/job/state";
Dir::State::status "/job/status";
Dir::Cache "/job/cache";
APT::Architecture "amd64";
Acquire::Retries "0";
END
touch status
cd ask
APT_CONFIG=/job/ask/apt.conf sh ./ask.sh
tar -C answer -cf - . >&3
"""


def package(**fields: str) -> str:
    found = {"Package": "zz", "Version": "1.0", "Architecture": "amd64", "Maintainer": "n <n@example.org>"}
    found |= {"Filename": "pool/zz_1.0_amd64.deb", "Size": "5", "SHA256": "a" * 64, "Description": "z"}
    return "".join(f"{key}: {value}\n" for key, value in (found | fields).items() if value)


def archive(packages: str | bytes, suffix: str = "", release: str = "") -> Callable[[Bench], None]:
    def tell(bench: Bench) -> None:
        data = packages.encode() if isinstance(packages, str) else packages
        for suite in SUITES:
            folder = bench.home / "dists" / suite
            (folder / "main/binary-amd64").mkdir(parents=True, exist_ok=True)
            (folder / "main/binary-amd64/Packages").unlink(missing_ok=True)
            (folder / f"main/binary-amd64/Packages{suffix}").write_bytes(data)
            said = f"Suite: {suite}\nCodename: {suite}\nArchitectures: amd64\nComponents: main\n"
            said += f"{release}SHA256:\n"
            said += f" {hashlib.sha256(data).hexdigest()} {len(data)} main/binary-amd64/Packages{suffix}\n"
            if suffix:
                said += f" {'b' * 64} {100 << 20} main/binary-amd64/Packages\n"
            (folder / "Release").write_text(said)

    return tell


def unsigned(bench: Bench) -> None:
    bench.settings["mirrors"] = dict.fromkeys(bench.settings.pop("stand_ins"), bench.up.url)


EXPIRED = "Date: Thu, 01 Jan 2015 00:00:00 UTC\nValid-Until: Thu, 08 Jan 2015 00:00:00 UTC\n"
APT = {
    "a way out": Lie(
        archive(package(Filename="../../zz_1.0_amd64.deb")),
        "apt names a file that no archive can have: 'debian…: ../../zz_1…'",
    ),
    "a command for a terminal": Lie(
        archive(package(Filename="pool/\x1b[2J.deb")), "apt names a file that no archive can have: …"
    ),
    "no sha256": Lie(archive(package(SHA256="")), "apt names a file without a sha256: …", hint="the log"),
    "a short sha256": Lie(archive(package(SHA256="abc")), "apt names a file without a sha256: …"),
    "a bomb": Lie(archive(lzma.compress(bytes(100 << 20), preset=0), ".xz"), FULL, DiskFull),
    "no packages": Lie(archive("\x1b[2J nonsense\n" * 9), f"{WRONG}Unable to parse package file …"),
    "other packages": Lie(
        does("replace", PACKAGES_FILE, "Package: other\n"),
        f"{WRONG}Failed to fetch @{PACKAGES_FILE}  File has unexpected size (15 != …",
        hint="be changing",
    ),
    "no such package": Lie(
        archive(package(Package="other")), "Debian has no package called zz", Unsolvable, hint="apt-cache"
    ),
    "not signed": Lie(unsigned, f"{WRONG}The repository '@ bookworm Release' is not signed."),
    "expired": Lie(
        archive(package(), release=EXPIRED), f"{WRONG}Release file for @{DISTS}Release is expired …"
    ),
    "a page": Lie(
        does("replace", f"{DISTS}Release", "<html>"), f"{WRONG}Unable to parse package file @{DISTS}Release …"
    ),
    "without end": Lie(
        does("raw", PACKAGES_FILE, ok(), b"\n" * 60_000),
        f"{WRONG}Failed to fetch @{PACKAGES_FILE}  File has unexpected size …",
    ),
    "slow": Lie(
        does("raw", PACKAGES_FILE, ok(), b"x", 0.02), f"@{PACKAGES_FILE} sends too slowly: …", NetworkFault
    ),
    "another server": Lie(
        does("redirect", PACKAGES_FILE, "{other}/x"),
        f"@{PACKAGES_FILE} sends us to another server, {{other}}",
    ),
    "to a file": Lie(
        does("redirect", PACKAGES_FILE, "file:///etc/passwd"), f"@{PACKAGES_FILE} sends us to file:…"
    ),
    "asks who we are": Lie(
        does("require", "/dists", "me", "pass"),
        "@/dists/…/InRelease refuses: it answers 401 …",
        hint="~/.netrc",
    ),
    "gone": Lie(
        does("fail", PACKAGES_FILE, 404, None), f"{WRONG}Failed to fetch @{PACKAGES_FILE}  404  Not Found"
    ),
}


@pytest.mark.parametrize("lie", named(APT))
def test_a_debian_archive(bench: Bench, lie: Lie, capsys: Any) -> None:
    stand_in(bench)
    what = "" if lie.said.startswith("apt names") else "recipes/app: app: "
    ours = lie.said.startswith((WRONG, "apt ", "Debian "))
    middle = "" if ours else "base image debian-12: " if lie.kind is DiskFull else "apt packages: "
    said = dataclasses.replace(lie, said=f"{'' if middle.startswith('base') else what}{middle}{lie.said}")
    told(bench, said, lock_apt, capsys)
    assert bench.other.requests == []


def stand_in(bench: Bench) -> None:
    archive(package())(bench)
    places = archives(default_sources(BOOKWORM)).values()
    bench.settings["stand_ins"] = {place: {"url": bench.up.url} for place in places}


def lock_apt(means: Means) -> Any:
    def ask(files: Mapping[str, bytes], relay: Relay) -> dict[str, bytes]:
        inputs: dict[str, bytes | Path] = {f"question/{name}": data for name, data in files.items()}
        errand = Errand("base image debian-12", _ASK_HERE, inputs, {}, Limits(), relay, ids=1)
        packed = io.BytesIO(answer_of(errand, means, _failure, 1 << 20))
        with tarfile.open(fileobj=packed) as answer:
            found = {member.name: answer.extractfile(member) for member in answer if member.isfile()}
            return {name.removeprefix("./"): content.read() for name, content in found.items() if content}

    inputs = Inputs(apt=("zz",))
    wanted: Any = Wanted(image(inputs=inputs), definition(), base_lock(), None, ask, {})
    return KINDS["apt"].lock(wanted, means)


BASE = {
    "not signed": Lie(
        unsigned, f"{WRONG}The repository '@ bookworm Release' is not signed.", hint="may be behind"
    ),
    "expired": Lie(
        archive(package(), release=EXPIRED), f"{WRONG}Release file for @{DISTS}Release is expired …"
    ),
}


@pytest.mark.parametrize("lie", named(BASE))
def test_a_debian_archive_of_a_base_image(bench: Bench, lie: Lie, capsys: Any) -> None:
    stand_in(bench)
    facts = {"name": "it", "title": "It", "distribution": "debian", "suite": "bookworm"}
    base = BaseImage.model_validate({**facts, "published": "debian:12-slim"})
    said = dataclasses.replace(lie, said=f"base image it: {lie.said}")
    told(bench, said, lambda means: lock_base(base, "0" * 64, means), capsys)
