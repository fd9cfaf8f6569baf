"""Images of a local registry: what they consist of, fetched and checked, without any engine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from imagefactory.errors import BuildFailed, Gone
from imagefactory.inputs.registry import parse_reference, resolve_image
from imagefactory.inputs.upstream import read_system
from imagefactory.model.lock import BlobFile
from imagefactory.model.settings import SiteFile
from imagefactory.system.processes import Stop
from imagefactory.system.site import Site
from imagefactory.system.store import Store
from imagefactory.system.web import Web
from tests.upstreams.registry import DOCKER, Registry, push_document, push_image, push_index
from tests.upstreams.server import Upstream

PLATFORM = "linux/amd64"
CONFIG: dict[str, Any] = {"os": "linux", "architecture": "amd64", "config": {}}
LAYERS = (os.urandom(5000), os.urandom(3000))
ZEROS = f"sha256:{'0' * 64}"


@pytest.fixture(autouse=True)
def engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests need no engine, and no user's settings."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)


@pytest.fixture(params=[False, True], ids=["open", "tokens"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    (tmp_path / "registry").mkdir()
    with Registry(tmp_path / "registry") as server:
        server.tokens = request.param
        yield server


def resolve(registry: Registry, tmp_path: Path, digest: str, **settings: Any) -> tuple[BlobFile, ...]:
    site = Site(SiteFile.model_validate({"retry_pause": 0.01, **settings}), store=tmp_path / "store")
    stop = Stop()
    log = SimpleNamespace(line=lambda text: None, phase=lambda text: None)
    means: Any = SimpleNamespace(
        site=site,
        store=Store(site.store),
        web=Web(site, stop),
        log=log,
        stop=stop,
        on_bytes=lambda count: None,
    )
    return resolve_image(f"{registry.host}/lab/base:1.0@{digest}", "lab", PLATFORM, means)


def push(registry: Registry, **changes: Any) -> str:
    whole: dict[str, Any] = {"layers": LAYERS, "config": CONFIG, **changes}
    return push_image(registry.folder, "lab/base", **whole)


def refused(registry: Registry, tmp_path: Path, digest: str) -> str:
    with pytest.raises(BuildFailed) as caught:
        resolve(registry, tmp_path, digest)
    what = f"base_images/lab: {registry.host}/lab/base:1.0@{digest}"
    assert caught.value.message.startswith(what)
    return caught.value.message.removeprefix(what)


@pytest.mark.parametrize("kind", ["application/vnd.oci.image.manifest.v1+json", f"{DOCKER}.v2+json"])
def test_every_part_of_an_image_is_found_and_fetched(registry: Registry, tmp_path: Path, kind: str) -> None:
    digest = push(registry, kind=kind)
    files = resolve(registry, tmp_path, digest)
    assert [file.name for file in files] == ["manifest", "config", "layer 01", "layer 02"]
    assert f"sha256:{files[0].sha256}" == digest
    assert files[0].file == f"manifests/{digest}"
    assert [file.bytes for file in files[2:]] == [5000, 3000]
    store = Store(tmp_path / "store")
    assert [store.path(file.sha256).read_bytes() for file in files[2:]] == list(LAYERS)
    token = "GET /token?service=tests&scope=repository%3Alab%2Fbase%3Apull"
    assert (token in registry.requests) is registry.tokens
    # The second time nothing is asked for.
    registry.requests.clear()
    assert (resolve(registry, tmp_path, digest), registry.requests) == (files, [])


def test_of_several_platforms_ours_is_taken_and_both_are_pinned(registry: Registry, tmp_path: Path) -> None:
    ours = push(registry)
    images = {"linux/arm64": ZEROS, PLATFORM: ours, "unknown/unknown": ZEROS}
    index = push_index(registry.folder, "lab/base", images)
    files = resolve(registry, tmp_path, index)
    assert [(file.name, file.file) for file in files[:2]] == [
        ("index", f"manifests/{index}"),
        ("manifest", f"manifests/{ours}"),
    ]
    other = push_index(registry.folder, "lab/base", {"linux/arm64": ZEROS, "unknown/unknown": ZEROS})
    assert refused(registry, tmp_path, other) == f": it is not there for {PLATFORM}, only for linux/arm64"


def test_a_layer_that_is_there_twice_is_locked_once(registry: Registry, tmp_path: Path) -> None:
    files = resolve(registry, tmp_path, push(registry, layers=(LAYERS[0], LAYERS[1], LAYERS[0])))
    assert [file.name for file in files] == ["manifest", "config", "layer 01", "layer 02"]


@pytest.mark.parametrize("part", ["layer 02", "config", "manifest"])
def test_what_was_changed_on_the_way_is_refused(registry: Registry, tmp_path: Path, part: str) -> None:
    digest = push(registry)
    files = {file.name: file for file in resolve(registry, tmp_path / "first", digest)}
    changed = files[part]
    registry.replace(f"/v2/lab/base/{changed.file}", b"x" * changed.bytes, "application/octet-stream")
    said = refused(registry, tmp_path, digest)
    assert said.startswith(f": {part}: expected sha256 {changed.sha256}, found ")
    assert not Store(tmp_path / "store").has(changed.sha256)


def test_a_connection_that_breaks_is_carried_on(registry: Registry, tmp_path: Path) -> None:
    digest = push(registry)
    registry.truncate("/v2/lab/base/blobs/*", 1500, times=1)
    assert len(resolve(registry, tmp_path, digest)) == 4
    assert any("bytes=1500-" in request for request in registry.requests)


def test_blobs_that_are_kept_elsewhere(registry: Registry, tmp_path: Path) -> None:
    digest = push(registry)
    layer = next((registry.folder / "v2/lab/base/blobs").iterdir())
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "data").write_bytes(layer.read_bytes())
    with Upstream(tmp_path / "elsewhere") as elsewhere:
        registry.redirect(f"/v2/lab/base/blobs/{layer.name}", f"{elsewhere.url}/data")
        assert len(resolve(registry, tmp_path, digest)) == 4
        assert elsewhere.requests == ["GET /data"]


@pytest.mark.parametrize(
    "manifest",
    [
        {"manifests": [1]},
        {"manifests": [{"platform": {"os": "linux", "architecture": "amd64"}}]},
        {"manifests": 5},
        {"config": {}, "layers": 5},
        {"config": {}, "layers": [{}]},
        {"config": {}, "layers": [5]},
        {"config": {"digest": ZEROS, "size": "big"}, "layers": [{"mediaType": "tar"}]},
        [],
    ],
)
def test_nonsense_is_refused(registry: Registry, tmp_path: Path, manifest: Any) -> None:
    digest = push_document(registry.folder, "lab/base", manifest)
    with pytest.raises(BuildFailed) as caught:
        resolve(registry, tmp_path, digest)
    assert caught.value.message.startswith(f"base_images/lab: {registry.host}/lab/base:1.0@{digest}: ")


@pytest.mark.parametrize("place", ["", "/v2/proxy"])
def test_a_mirror_of_a_registry(registry: Registry, tmp_path: Path, place: str) -> None:
    name = f"{place.removeprefix('/v2/')}/lab/base".lstrip("/")
    digest = push_image(registry.folder, name, LAYERS, CONFIG)
    elsewhere: Any = SimpleNamespace(host="registry.example.org")
    mirrors = {f"https://registry.example.org{place and '/v2'}": f"{registry.url}{place}"}
    assert len(resolve(elsewhere, tmp_path, digest, mirrors=mirrors)) == 4
    scope = f"repository%3A{name.replace('/', '%2F')}%3Apull"
    assert any(request.endswith(f"scope={scope}") for request in registry.requests) is registry.tokens


def test_a_mirror_that_is_a_folder(registry: Registry, tmp_path: Path) -> None:
    digest = push(registry)
    elsewhere: Any = SimpleNamespace(host="registry.example.org")
    mirrors = {"https://registry.example.org": registry.folder.as_uri()}
    assert len(resolve(elsewhere, tmp_path, digest, mirrors=mirrors)) == 4
    assert registry.requests == []


def test_what_cannot_be_a_base_image(registry: Registry, tmp_path: Path) -> None:
    arm = push(registry, config={**CONFIG, "architecture": "arm64"})
    assert refused(registry, tmp_path, arm) == f": it is for linux/arm64, and this machine is {PLATFORM}"
    triggers = push(registry, config={**CONFIG, "config": {"OnBuild": ["RUN make"]}})
    assert "(ONBUILD RUN make)" in refused(registry, tmp_path, triggers)
    assert "that is no image that can be run" in refused(registry, tmp_path, push(registry, layers=()))
    with pytest.raises(Gone) as caught:
        resolve(registry, tmp_path, ZEROS)
    assert "under that digest" in caught.value.hint


def test_a_registry_that_gives_no_token(registry: Registry, tmp_path: Path) -> None:
    digest = push(registry)
    registry.tokens = True
    registry.token = b"<html>log in</html>"
    assert refused(registry, tmp_path, digest).endswith("/token gives no token")


def test_where_registries_are() -> None:
    places = {
        "docker.io/debian": "https://registry-1.docker.io/v2/library/debian",
        "docker.io/nvidia/cuda:12.4": "https://registry-1.docker.io/v2/nvidia/cuda",
        "ghcr.io/lab/a/b:1": "https://ghcr.io/v2/lab/a/b",
        "localhost:5000/x": "http://localhost:5000/v2/x",
        "127.0.0.1/x": "http://127.0.0.1/v2/x",
    }
    for name, address in places.items():
        found = parse_reference(f"{name}@{ZEROS}")
        assert (found.address, found.digest) == (address, ZEROS)


ANSWER = {
    "missing": "",
    "os-release": 'ID=debian\nVERSION_CODENAME="bookworm"\n',
    "packages": "installed libc6 2.36-9\nconfig-files gone 1\ninstalled bash 5.2\n",
}


def answer(**changes: str) -> dict[str, bytes]:
    told = {**ANSWER, **{name.replace("_", "-"): text for name, text in changes.items()}}
    return {name: text.encode() for name, text in told.items()}


def test_what_an_image_says_of_itself() -> None:
    system = read_system(answer(), "it")
    assert (system.distribution, system.suite) == ("debian", "bookworm")
    assert [(package.name, package.version) for package in system.packages] == [
        ("bash", "5.2"),
        ("libc6", "2.36-9"),
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"missing": "apt-get\nbash\n"}, "it lacks apt-get, bash"),
        ({"os_release": "ID=alpine\nVERSION_ID=3.20\n"}, "says that it is alpine 3.20, no release of Debian"),
        ({"os_release": "ID=debian\n"}, "says that it is debian, no release of Debian or Ubuntu"),
        ({"os_release": ""}, "says that it is something, no release of Debian or Ubuntu"),
    ],
)
def test_what_no_image_can_be_built_on(changes: dict[str, str], said: str) -> None:
    with pytest.raises(BuildFailed) as caught:
        read_system(answer(**changes), "it")
    assert caught.value.message.startswith("it: no image can be built on it: ")
    assert said in caught.value.message


def test_what_an_image_must_not_say_of_itself() -> None:
    with pytest.raises(BuildFailed, match="what it says of its packages cannot be read"):
        read_system(answer(packages="installed libc6 2\x1b[2J\n"), "it")
    with pytest.raises(BuildFailed, match="it lacks apt-get"):
        read_system({}, "it")
