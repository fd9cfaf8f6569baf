"""A build takes its inputs from the store alone: the network is cut, and nothing is missed."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engines.bench import Bench
from tests.engines.test_own_daemon import Daemon, daemon, disk_size  # noqa: F401  # fixtures
from tests.upstreams.server import Upstream

pytestmark = pytest.mark.skipif(
    os.getuid() != 0 or shutil.which("dockerd") is None, reason="only root can cut the network"
)
CUT = ("unshare", "--net", "--")
INSTALL = "mkdir -p /opt/answer && cp /recipe/files/answer /opt/answer/\ncommand -v make hello"


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[Upstream]:
    """Serves the data of a test, as long as there is a network."""
    (tmp_path / "upstream").mkdir()
    (tmp_path / "upstream" / "data.txt").write_text("data\n")
    with Upstream(tmp_path / "upstream") as server:
        yield server


def everything(bench: Bench, upstream: Upstream, name: str) -> str:
    """An image with packages in every stage, a part, a readme, and a test that reads data."""
    part = bench.root / "recipes" / "_parts" / "note"
    (part / "files").mkdir(parents=True)
    (part / "part.yaml").write_text("name: note\ntitle: A note\nbuild: {keep: [/opt/note]}\n")
    (part / "install.sh").write_text("mkdir /opt/note && cp /recipe/files/note /opt/note/\n")
    (part / "files" / "note").write_text("a note\n")
    data = {"url": f"{upstream.url}/data.txt", "sha256": hashlib.sha256(b"data\n").hexdigest()}
    image = bench.recipe(
        name,
        INSTALL,
        inputs={"apt": ["hello"], "pip": {"packages": ["idna==3.6"]}},
        build={"inputs": {"apt": ["make"]}, "keep": ["/opt/answer"]},
        commands=["hello", "python"],
        parts=["note"],
        test_data={"data": data},
        tests=[
            {
                "name": "runs",
                "command": ["python", "-c", "import idna; print(idna.__version__)"],
                "output": ["^3.6$"],
            },
            {
                "name": "reads",
                "command": ["cat", "/data/data/data.txt", "/opt/note/note"],
                "output": ["^data$", "^a note$"],
                "data": ["data"],
            },
        ],
    )
    (bench.folder(image) / "README.md").write_text("# What users should know\n")
    (bench.folder(image) / "files").mkdir(exist_ok=True)
    (bench.folder(image) / "files" / "answer").write_text("42\n")
    return image


def test_with_the_network_cut(bench: Bench, daemon: Daemon, upstream: Upstream) -> None:  # noqa: F811
    """Neither the factory nor the engine has any network: both are in namespaces without one."""
    image = everything(bench, upstream, "cut")
    bench.run("fetch", image)
    base = bench.build / "debian-12" / "layout" / "index.json"
    before = base.read_bytes()
    bench.as_user = CUT
    bench.run("build", "debian-12", image, "--no-cache", DOCKER_HOST=daemon.host, timeout=300)
    assert bench.report(image)["status"] == "passed"
    assert base.read_bytes() == before
    # What is not in the store is missed, and said.
    bench.recipe("cut", INSTALL, inputs={"apt": ["hello"], "pip": {"packages": ["idna==3.4"]}})
    ended = bench.run("build", image, status=1, DOCKER_HOST=daemon.host)
    assert "cannot be reached" in ended.errors[0], ended.text


def test_a_bundle_builds_the_same_image_without_network(
    make_bench: Callable[[str], Bench],
    daemon: Daemon,  # noqa: F811
    upstream: Upstream,
    tmp_path: Path,
) -> None:
    bench = make_bench("here")
    image = everything(bench, upstream, "bundled")
    bench.run("build", image)
    digest, inputs = bench.report(image)["digest"], bench.report(image)["input_digest"]
    file = tmp_path / "carried.bundle.tar"
    bench.run("bundle", image, "--to", str(file))
    elsewhere: dict[str, Any] = {"IMAGEFACTORY_STORE": str(tmp_path / "empty"), "DOCKER_HOST": daemon.host}
    out = bench.run("unbundle", str(file), "--to", str(tmp_path / "there"), **elsewhere).out
    assert f"imagefactory --root {tmp_path / 'there'} build {image}" in out
    there = Bench(tmp_path / "there", as_user=CUT)
    there.run("build", image, timeout=300, **elsewhere)
    assert there.report(image)["input_digest"] == inputs
    assert there.report(image)["digest"] == digest
    there.assert_clean()


def test_a_damaged_bundle_is_refused(bench: Bench, tmp_path: Path) -> None:
    image = bench.recipe("damaged", inputs={"apt": ["hello"]})
    file = tmp_path / "x.bundle.tar"
    bench.run("bundle", image, "--to", str(file))
    content = bytearray(file.read_bytes())
    at = content.rindex(b"!<arch>\n")  # the beginning of the last Debian package in it
    content[at + 100] ^= 0xFF
    file.write_bytes(content)
    elsewhere: dict[str, Any] = {"IMAGEFACTORY_STORE": str(tmp_path / "store")}
    ended = bench.run("unbundle", str(file), "--to", str(tmp_path / "there"), status=1, **elsewhere)
    assert "is damaged: an input in it has sha256" in ended.errors[0]
    assert sorted(path.name for path in tmp_path.glob("*there*")) == []
    assert not [*(tmp_path / "store" / "partial").glob("*/*")]


def test_what_the_store_lost_is_named(bench: Bench, tmp_path: Path) -> None:
    image = bench.recipe("lost", inputs={"apt": ["hello"]})
    store: dict[str, Any] = {"IMAGEFACTORY_STORE": str(tmp_path / "store")}
    bench.run("fetch", image, **store)
    files = [f for f in (tmp_path / "store" / "sha256").rglob("*") if f.is_file()]
    victim = max(files, key=lambda f: f.stat().st_size)
    victim.write_bytes(b"damaged" + victim.read_bytes()[7:])
    ended = bench.run("store", "verify", status=1, **store)
    assert f"{victim.name}: damaged, and removed" in ended.err
    assert ended.out == f"{len(files)} files: 1 damaged\n"
    assert "fetched 1 files" in bench.run("fetch", image, **store).out
    assert bench.run("store", "verify", **store).out == f"{len(files)} files: none damaged\n"
    listed = bench.run("store", "list", "--json", **store).json()
    (hello,) = [f for f in listed["files"] if f["name"].startswith("hello ")]
    assert hello["for"] == [image]
    # What this checkout's locks name is never pruned; what nobody names goes.
    assert bench.run("store", "prune", "--unused-for", "0", **store).out.startswith("removed 0 files")
    shutil.rmtree(bench.folder(image))
    assert bench.run("store", "prune", "--unused-for", "0", **store).out.startswith("removed 1 file")
