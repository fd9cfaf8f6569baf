"""VM bases that others publish: one file, fetched once by its sha512, and taken as it is."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.bench import Bench
from tests.upstreams.server import Upstream

NAME = "cloud-vm"
FILE = "debian-13-genericcloud.qcow2"


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[Upstream]:
    (tmp_path / "up").mkdir()
    (tmp_path / "data").write_bytes(os.urandom(3 << 20))
    words = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "data", f"up/{FILE}"]
    subprocess.run(words, check=True, cwd=tmp_path)
    with Upstream(tmp_path / "up") as server:
        yield server


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    root = tmp_path / "checkout"
    for name in ("recipes", "base_images"):
        (root / name).mkdir(parents=True)
    made = Bench(root, {"IMAGEFACTORY_STORE": str(tmp_path / "store")})
    yield made
    made.end()
    made.assert_clean(patience=5)


def write(bench: Bench, upstream: Upstream, file: str = FILE, sha512: str = "") -> None:
    content = upstream.folder / file
    known = hashlib.sha512(content.read_bytes()).hexdigest() if content.exists() else "0" * 128
    disk = {"url": f"{upstream.url}/{file}", "sha512": sha512 or known}
    document = {"name": NAME, "title": "A disk", "machine": {"user": "debian", "from": disk}}
    (bench.root / "base_images" / f"{NAME}.yaml").write_text(json.dumps(document))


def test_it_is_fetched_once_and_taken_as_it_is(bench: Bench, upstream: Upstream) -> None:
    whole = (upstream.folder / FILE).read_bytes()
    write(bench, upstream)
    upstream.truncate(f"/{FILE}", at=1 << 20)
    bench.run("lock", NAME)
    assert upstream.requests == [f"GET /{FILE}", f"GET /{FILE} bytes={1 << 20}-"]
    lock = bench.root / "base_images" / f"{NAME}.lock.yaml"
    assert f"sha256: {hashlib.sha256(whole).hexdigest()}" in lock.read_text()
    bench.as_user = ("unshare", "--net", "--") if os.geteuid() == 0 else ()
    bench.run("build", "--locked", NAME)
    disk = bench.build / NAME / "disk.qcow2"
    assert disk.read_bytes() == whole
    assert bench.report(NAME, "vmbase")["digest"] == f"sha256:{hashlib.sha256(whole).hexdigest()}"
    assert FILE in bench.run("show", NAME).out
    # Whoever boots it writes to it, and not to the store.
    with disk.open("r+b") as out:
        out.write(b"changed")
    bench.run("store", "verify")
    assert len(upstream.requests) == 2


def test_a_store_without_it_gets_it_anew(bench: Bench, upstream: Upstream, tmp_path: Path) -> None:
    write(bench, upstream)
    bench.run("lock", NAME)
    bench.run("build", NAME, IMAGEFACTORY_STORE=str(tmp_path / "another-store"))
    assert (bench.build / NAME / "disk.qcow2").read_bytes() == (upstream.folder / FILE).read_bytes()
    assert upstream.requests == [f"GET /{FILE}"] * 2


def refused(bench: Bench) -> str:
    ended = bench.run("lock", NAME, status=1)
    assert not (bench.root / "base_images" / f"{NAME}.lock.yaml").exists()
    assert not list((bench.root.parent / "store").rglob("*.qcow2"))
    (error,) = ended.errors
    return f"{error}\n{ended.err}"


def test_another_file_is_refused(bench: Bench, upstream: Upstream) -> None:
    write(bench, upstream, sha512="1" * 128)
    assert f"base_images/{NAME}: {FILE}: expected sha512 {'1' * 128}, found " in refused(bench)


def test_one_that_is_gone_is_told(bench: Bench, upstream: Upstream) -> None:
    write(bench, upstream, "old.qcow2")
    said = refused(bench)
    assert "old.qcow2" in said
    assert "has moved on" in said


def test_what_is_no_whole_disk_is_refused(bench: Bench, upstream: Upstream) -> None:
    (upstream.folder / "disk.raw").write_bytes(b"\0" * 4096)
    write(bench, upstream, "disk.raw")
    assert f"base_images/{NAME}: disk.raw: it is no qcow2 file" in refused(bench)
    words = ["qemu-img", "create", "-f", "qcow2", "-u", "-b", "/etc/shadow", "-F", "raw", "half.qcow2", "1M"]
    subprocess.run(words, check=True, cwd=upstream.folder, stdout=subprocess.DEVNULL)
    write(bench, upstream, "half.qcow2")
    assert "is a part of a disk, and names another file" in refused(bench)
