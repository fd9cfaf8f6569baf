"""Downloads from a local server that has the faults of real ones: carried on, checked, explained."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from imagefactory.errors import BuildFailed, Gone, Interrupted, NetworkFault
from imagefactory.inputs.mirrors import fetch_checked
from imagefactory.model.expected import Expected
from imagefactory.model.settings import SiteFile
from imagefactory.system.processes import Stop
from imagefactory.system.site import Site
from imagefactory.system.store import Store
from imagefactory.system.web import Web
from tests.conftest import REPOSITORY
from tests.upstreams.server import Proxy, Upstream

DATA = os.urandom(1 << 20)
SHA256 = hashlib.sha256(DATA).hexdigest()
PATH = "/pool/data.bin"
PAGE = "\n <!DOCTYPE html><html><body>Log in first</body></html>"
WHAT = "recipes/app: source data"
EXPECTED = Expected(WHAT, SHA256, len(DATA))


@pytest.fixture(autouse=True)
def engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests need no engine, and no user's settings."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[Upstream]:
    folder = tmp_path / "upstream"
    (folder / "pool").mkdir(parents=True)
    (folder / PATH[1:]).write_bytes(DATA)
    with Upstream(folder) as server:
        yield server


class Patient(Stop):
    """Notes how often it was asked to wait, and does not."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)


class Fetch:
    """Fetches into a store of its own, with some settings of a site."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "store")
        self.stop = Patient()
        self.lines: list[str] = []
        self.counted = 0

    def __call__(self, url: str, expected: Expected = EXPECTED, **site: Any) -> None:
        settings = SiteFile.model_validate(site.pop("settings", {}))
        ours = Site(settings, store=self.store.folder, **site)
        means: Any = SimpleNamespace(
            site=ours,
            store=self.store,
            web=Web(ours, self.stop),
            log=SimpleNamespace(line=self.lines.append),
            stop=self.stop,
            on_bytes=self._count,
        )
        fetch_checked(url, expected, means)

    def _count(self, count: int) -> None:
        self.counted += count

    @property
    def draft(self) -> Path:
        return self.store.folder / "partial" / str(os.geteuid()) / SHA256

    def whole(self) -> bool:
        """Whether the store holds the right file, and no draft of it is left."""
        has = self.store.has(SHA256) and self.store.path(SHA256).read_bytes() == DATA
        return has and not self.draft.exists()

    def begin(self, data: bytes) -> None:
        """Leave a part of an earlier download."""
        self.draft.parent.mkdir(parents=True)
        self.draft.write_bytes(data)

    def fails(
        self, kind: type[BuildFailed], url: str, expected: Expected = EXPECTED, **site: Any
    ) -> BuildFailed:
        """The failure; and nothing is in the store."""
        with pytest.raises(kind) as caught:
            self(url, expected, **site)
        assert type(caught.value) is kind
        assert not list(self.store.files())
        return caught.value


@pytest.fixture
def fetch(tmp_path: Path) -> Fetch:
    return Fetch(tmp_path)


def test_a_file_is_fetched_whole(upstream: Upstream, fetch: Fetch) -> None:
    fetch(upstream.url + PATH)
    assert fetch.whole()
    assert (upstream.requests, fetch.counted, fetch.lines) == ([f"GET {PATH}"], len(DATA), [])
    fetch(upstream.url + PATH)
    assert len(upstream.requests) == 1


def test_a_download_that_breaks_off_is_carried_on(upstream: Upstream, fetch: Fetch) -> None:
    upstream.truncate(PATH, at=300_000)
    fetch(upstream.url + PATH)
    assert fetch.whole()
    assert upstream.requests == [f"GET {PATH}", f"GET {PATH} bytes=300000-"]
    assert len(fetch.stop.waits) == 1


def test_another_run_carries_on_what_one_left(upstream: Upstream, fetch: Fetch) -> None:
    fetch.begin(DATA[:777_777])
    fetch(upstream.url + PATH)
    assert fetch.whole()
    assert upstream.requests == [f"GET {PATH} bytes=777777-"]
    assert fetch.counted == len(DATA)  # what was there counts


def test_what_is_there_whole_is_not_asked_for(upstream: Upstream, fetch: Fetch) -> None:
    fetch.begin(DATA)
    fetch(upstream.url + PATH)
    assert fetch.whole()
    assert upstream.requests == []


@pytest.mark.parametrize(
    "rest",
    [b"something else", os.urandom(600_000), DATA[:9] + b"x", DATA + b"more"],
    ids=["short", "long", "near", "too long"],
)
def test_a_part_of_something_else_is_begun_again(upstream: Upstream, fetch: Fetch, rest: bytes) -> None:
    fetch.begin(rest)
    fetch(upstream.url + PATH)
    assert fetch.whole()
    assert upstream.requests == [f"GET {PATH} bytes={len(rest)}-", f"GET {PATH}"]


def test_a_server_without_ranges_sends_everything_again(upstream: Upstream, fetch: Fetch) -> None:
    fetch.begin(DATA[:1000])
    upstream.replace(PATH, DATA, "application/octet-stream")
    fetch(upstream.url + PATH)
    assert fetch.whole()
    assert upstream.requests == [f"GET {PATH} bytes=1000-"]


def test_a_server_that_always_breaks_off_is_given_up(upstream: Upstream, fetch: Fetch) -> None:
    upstream.truncate(PATH, at=1000, times=None)
    error = fetch.fails(NetworkFault, upstream.url + PATH)
    assert error.message.startswith(f"{WHAT}: {upstream.url}{PATH} ")
    assert len(upstream.requests) == 3
    assert fetch.draft.stat().st_size == 3000  # for the next run
    upstream.heal()
    fetch(upstream.url + PATH)
    assert upstream.requests[-1] == f"GET {PATH} bytes=3000-"
    assert fetch.whole()


def test_a_file_of_unknown_size_that_breaks_off(upstream: Upstream, fetch: Fetch) -> None:
    upstream.truncate(PATH, at=300_000)
    fetch(upstream.url + PATH, Expected(WHAT, SHA256))
    assert fetch.whole()


def test_another_content_is_never_stored(upstream: Upstream, fetch: Fetch) -> None:
    upstream.replace(PATH, DATA[::-1], "application/octet-stream")
    error = fetch.fails(BuildFailed, upstream.url + PATH)
    found = hashlib.sha256(DATA[::-1]).hexdigest()
    assert error.message == f"{WHAT}: expected sha256 {SHA256}, found {found}, {len(DATA)} bytes"
    assert error.hint.startswith(f"{upstream.url}{PATH} holds another file than the one that was pinned")
    assert not fetch.draft.exists()
    assert len(upstream.requests) == 1  # trying again would not help


def test_a_longer_file_is_never_stored(upstream: Upstream, fetch: Fetch) -> None:
    upstream.replace(PATH, DATA + b"more", "application/octet-stream")
    error = fetch.fails(BuildFailed, upstream.url + PATH)
    assert error.message == f"{WHAT}: expected {len(DATA)} bytes, found {len(DATA) + 4} bytes"
    assert error.hint.startswith(f"{upstream.url}{PATH} holds another file than the one that was pinned")


def test_a_page_in_place_of_a_file_is_named(upstream: Upstream, fetch: Fetch) -> None:
    upstream.replace(PATH, PAGE)
    error = fetch.fails(BuildFailed, upstream.url + PATH)
    assert error.message.endswith(", a web page")
    assert error.hint == (
        f"{upstream.url}{PATH} answers with a page: look at it with a browser, perhaps you must log in first"
    )
    assert not fetch.draft.exists()
    assert len(upstream.requests) == 1


def test_a_page_after_a_part_of_the_file_is_named_too(upstream: Upstream, fetch: Fetch) -> None:
    fetch.begin(DATA[:1000])
    upstream.replace(PATH, PAGE)
    assert fetch.fails(BuildFailed, upstream.url + PATH).message.endswith(", a web page")


@pytest.mark.parametrize("status", [404, 410])
def test_what_is_gone_is_told_at_once(upstream: Upstream, fetch: Fetch, status: int) -> None:
    upstream.fail(PATH, status, times=None)
    error = fetch.fails(Gone, upstream.url + PATH)
    assert error.message.startswith(f"{WHAT}: {upstream.url}{PATH} is not there: it answers {status} ")
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_who_is_refused_is_told_what_to_do(upstream: Upstream, fetch: Fetch, status: int) -> None:
    upstream.fail(PATH, status, times=None)
    error = fetch.fails(BuildFailed, upstream.url + PATH)
    assert error.message.startswith(f"{WHAT}: {upstream.url}{PATH} refuses: it answers {status} ")
    assert ".netrc" in error.hint
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_fault_that_passes_is_waited_for(upstream: Upstream, fetch: Fetch, status: int) -> None:
    upstream.fail(PATH, status, times=2)
    fetch(upstream.url + PATH)
    assert fetch.whole()
    assert len(upstream.requests) == 3
    assert len(fetch.stop.waits) == 2
    assert [line.partition(" answers ")[2][:3] for line in fetch.lines] == [str(status)] * 2


def test_a_fault_that_stays_is_given_up(upstream: Upstream, fetch: Fetch) -> None:
    upstream.fail(PATH, 503, times=None)
    error = fetch.fails(NetworkFault, upstream.url + PATH)
    assert error.message.startswith(f"{WHAT}: {upstream.url}{PATH} answers 503 ")
    assert len(upstream.requests) == 3


def test_a_fault_loses_nothing_of_what_was_there(upstream: Upstream, fetch: Fetch) -> None:
    fetch.begin(DATA[:1000])
    upstream.fail(PATH, 503, times=1)
    fetch(upstream.url + PATH)
    assert upstream.requests == [f"GET {PATH} bytes=1000-"] * 2
    assert fetch.whole()


def dead_port() -> str:
    """An address where nothing answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_nobody_answers(fetch: Fetch) -> None:
    url = dead_port() + PATH
    error = fetch.fails(NetworkFault, url)
    assert error.message.startswith(f"{WHAT}: {url} cannot be reached: ")
    assert error.message.endswith("Connection refused")
    assert error.hint == "check the network; behind a firewall, name mirrors or proxies in site.yaml"
    assert len(fetch.stop.waits) == 2


def test_a_name_that_nobody_knows(fetch: Fetch) -> None:
    error = fetch.fails(NetworkFault, f"http://nobody.invalid{PATH}")
    assert error.message.startswith(f"{WHAT}: http://nobody.invalid{PATH} cannot be reached: ")


def test_the_next_mirror_is_asked_where_one_fails(upstream: Upstream, fetch: Fetch) -> None:
    mirrors = (dead_port(), f"{upstream.url}/nothing", upstream.url)
    fetch(f"https://app.example.org{PATH}", settings={"mirrors": {"https://app.example.org": mirrors}})
    assert fetch.whole()
    assert upstream.requests == [f"GET /nothing{PATH}", f"GET {PATH}"]


def test_a_mirror_with_another_file_is_a_failure(upstream: Upstream, fetch: Fetch) -> None:
    """Not passed over: it may be somebody's attack."""
    upstream.replace(f"/bad{PATH}", DATA[::-1], "application/octet-stream")
    settings = {"mirrors": {"https://app.example.org": (f"{upstream.url}/bad", upstream.url)}}
    error = fetch.fails(BuildFailed, f"https://app.example.org{PATH}", settings=settings)
    assert error.hint.startswith(f"{upstream.url}/bad{PATH} holds another file")
    assert upstream.requests == [f"GET /bad{PATH}"]


def test_a_redirect_is_followed(upstream: Upstream, fetch: Fetch) -> None:
    upstream.redirect("/latest", PATH)
    fetch(f"{upstream.url}/latest")
    assert fetch.whole()


def test_a_folder_is_as_good_as_a_server(upstream: Upstream, fetch: Fetch) -> None:
    fetch.begin(b"something else")
    fetch(
        f"https://app.example.org{PATH}",
        settings={"mirrors": {"https://app.example.org": upstream.folder.as_uri()}},
    )
    assert fetch.whole()
    assert upstream.requests == []


def test_a_folder_without_the_file(tmp_path: Path, fetch: Fetch) -> None:
    error = fetch.fails(Gone, f"{tmp_path.as_uri()}/nothing")
    assert error.message == f"{WHAT}: there is no file {tmp_path}/nothing"


def test_a_proxy_is_used(upstream: Upstream, fetch: Fetch) -> None:
    with Proxy({"app.test": upstream}) as proxy:
        fetch(f"http://app.test{PATH}", proxies={"http_proxy": proxy.url})
    assert fetch.whole()
    assert proxy.requests == [f"GET http://app.test{PATH}"]
    assert upstream.requests == [f"GET {PATH}"]


@pytest.mark.parametrize("no_proxy", ["127.0.0.1", "example.org,127.0.0.1", "127.0.0.0/8"])
def test_a_proxy_is_not_used_where_it_should_not_be(upstream: Upstream, fetch: Fetch, no_proxy: str) -> None:
    with Proxy() as proxy:
        fetch(upstream.url + PATH, proxies={"http_proxy": proxy.url, "no_proxy": no_proxy})
        assert proxy.requests == []
        assert fetch.whole()


def test_only_the_site_s_proxies_are_used(
    upstream: Upstream, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variables were read when the site's settings were."""
    monkeypatch.setenv("http_proxy", dead_port())
    fetch(upstream.url + PATH)
    assert fetch.whole()


def test_a_proxy_that_asks_who_we_are(upstream: Upstream, fetch: Fetch) -> None:
    with Proxy({"app.test": upstream}, user="me", password="p@ss word") as proxy:
        fetch(f"http://app.test{PATH}", proxies={"http_proxy": proxy.url})
        assert fetch.whole()
    other = Fetch(fetch.store.folder.parent / "other")
    with Proxy({"app.test": upstream}, user="me", password="p@ss word") as proxy:
        wrong = proxy.url.replace("me:", "you:")
        error = other.fails(BuildFailed, f"http://app.test{PATH}", proxies={"http_proxy": wrong})
    assert "407" in error.message
    assert "p%40ss" not in error.message + error.hint


def test_a_dead_proxy_is_named(fetch: Fetch) -> None:
    error = fetch.fails(NetworkFault, f"http://app.test{PATH}", proxies={"http_proxy": dead_port()})
    assert error.message.startswith(f"{WHAT}: the proxy does not let us reach http://app.test{PATH}: ")
    assert error.hint == "check 'proxies' in site.yaml, or http_proxy and https_proxy"


def test_netrc_says_who_we_are(upstream: Upstream, fetch: Fetch, tmp_path: Path) -> None:
    upstream.require("/", "me", "hunter2")
    error = fetch.fails(BuildFailed, upstream.url + PATH)
    assert "refuses: it answers 401" in error.message
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password hunter2\n")
    (tmp_path / ".netrc").chmod(0o600)
    fetch(upstream.url + PATH)
    assert fetch.whole()


def test_an_address_may_say_who_we_are(upstream: Upstream, fetch: Fetch, tmp_path: Path) -> None:
    upstream.require("/", "me", "hunter2")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login you password wrong\n")
    (tmp_path / ".netrc").chmod(0o600)
    mirror = upstream.url.replace("//", "//me:hunter2@")
    fetch(f"https://app.example.org{PATH}", settings={"mirrors": {"https://app.example.org": mirror}})
    assert fetch.whole()
    upstream.fail(PATH, 404, times=None)
    other = Fetch(tmp_path / "other")
    error = other.fails(Gone, f"{mirror}{PATH}")
    assert "hunter2" not in error.message
    assert upstream.url.removeprefix("http://") in error.message


@pytest.fixture
def authority() -> Any:
    return pytest.importorskip("trustme").CA()


def test_only_a_trusted_certificate_will_do(
    upstream: Upstream, fetch: Fetch, authority: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    with Upstream(upstream.folder, tls=authority) as secure:
        # The variables of the client's own library do not count by themselves.
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
        error = fetch.fails(BuildFailed, secure.url + PATH)
        assert error.message.startswith(f"{WHAT}: the certificate of {secure.url}{PATH} is not trusted: ")
        assert error.hint == "where a proxy re-signs TLS, name its certificates as 'ca_bundle' in site.yaml"
        fetch(secure.url + PATH, ca_bundle=bundle)
    assert fetch.whole()


def test_https_goes_through_a_proxy(upstream: Upstream, fetch: Fetch, authority: Any, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    with (
        Upstream(upstream.folder, tls=authority, names=("app.test",)) as secure,
        Proxy({"app.test": secure}) as proxy,
    ):
        fetch(f"https://app.test{PATH}", ca_bundle=bundle, proxies={"https_proxy": proxy.url})
    assert fetch.whole()
    assert proxy.requests == ["CONNECT app.test:443"]


def test_a_stop_ends_a_download(upstream: Upstream, fetch: Fetch) -> None:
    upstream.slow(PATH, 400_000)
    timer = threading.Timer(1.0, fetch.stop.now)
    timer.start()
    with pytest.raises(Interrupted):
        fetch(upstream.url + PATH)
    timer.join()
    assert 0 < fetch.draft.stat().st_size < len(DATA)
    assert not fetch.store.has(SHA256)


def test_a_stop_ends_a_slow_download_too(upstream: Upstream, fetch: Fetch) -> None:
    upstream.slow(PATH, 40_000)
    timer = threading.Timer(0.3, fetch.stop.now)
    timer.start()
    start = time.monotonic()
    with pytest.raises(Interrupted):
        fetch(upstream.url + PATH)
    timer.join()
    assert time.monotonic() - start < 3


FETCHER = """
import sys
from pathlib import Path
from types import SimpleNamespace
from imagefactory.inputs.mirrors import fetch_checked
from imagefactory.system.processes import Stop
from imagefactory.system.site import Site
from imagefactory.system.store import Store
from imagefactory.system.web import Expected, Web
url, sha256, folder = sys.argv[1:]
site, stop = Site(store=Path(folder)), Stop()
means = SimpleNamespace(
    site=site, store=Store(site.store), web=Web(site, stop), stop=stop, on_bytes=lambda count: None,
    log=SimpleNamespace(line=print),
)
fetch_checked(url, Expected("it", sha256), means)
"""


@pytest.fixture
def start(upstream: Upstream, fetch: Fetch) -> Callable[[], subprocess.Popen[bytes]]:
    """Starts another process that fetches the file into the same store."""
    words = [sys.executable, "-c", FETCHER, upstream.url + PATH, SHA256, str(fetch.store.folder)]
    return lambda: subprocess.Popen(words, cwd=REPOSITORY)


def test_two_processes_fetch_one_file_once(
    upstream: Upstream, fetch: Fetch, start: Callable[[], subprocess.Popen[bytes]]
) -> None:
    upstream.slow(PATH, 500_000)  # longer than it takes to start
    both = [start(), start()]
    assert [process.wait(60) for process in both] == [0, 0]
    assert upstream.requests == [f"GET {PATH}"]
    assert fetch.whole()


def test_a_killed_process_leaves_a_part_to_carry_on(
    upstream: Upstream, fetch: Fetch, start: Callable[[], subprocess.Popen[bytes]]
) -> None:
    upstream.slow(PATH, 400_000, times=1)
    process = start()
    waited = threading.Event()
    for _ in range(600):
        if fetch.draft.exists() and fetch.draft.stat().st_size > 0:
            break
        waited.wait(0.05)
    process.kill()
    process.wait(10)
    part = fetch.draft.stat().st_size
    assert 0 < part < len(DATA)
    fetch(upstream.url + PATH)
    assert upstream.requests[-1] == f"GET {PATH} bytes={part}-"
    assert fetch.whole()
