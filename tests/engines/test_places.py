"""The factory works wherever, and for whomever, it is started."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.engines.bench import Bench, exists, inspect

SOMEBODY = 23456
root_only = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user or mount")


def test_a_checkout_with_an_odd_path(make_bench: Callable[[str], Bench]) -> None:
    bench = make_bench("""odd, "päth" with: all @t $once 'x'=y#1""")
    image = bench.recipe("odd-path", "test -f /recipe/files/x")
    (bench.folder(image) / "files").mkdir()
    (bench.folder(image) / "files" / "x").write_text("x")
    (bench.folder(image) / "tests" / "x").write_text("x")
    bench.recipe("odd-path", "test -f /recipe/files/x", tests=[{"name": "a", "command": ["cat", "/tests/x"]}])
    bench.run("build", image)


def test_a_base_image_is_the_same_wherever_it_is_made(make_bench: Callable[[str], Bench]) -> None:
    bench = make_bench("odd, päth with all @t $once 'x'=y#1")
    image = bench.recipe("same-base")
    before = inspect_base(bench)
    old = os.umask(0o077)
    try:
        bench.run("build", "debian-12", image, "--no-cache")
    finally:
        os.umask(old)
    assert inspect_base(bench) == before


@pytest.mark.long
def test_a_base_image_below_a_path_that_apt_cannot_name(make_bench: Callable[[str], Bench]) -> None:
    """It never sees the path: it works in the sandbox."""
    bench = make_bench('one:two "three"')
    before = inspect_base(bench)
    bench.run("build", "debian-12", "--no-cache", timeout=300)
    assert inspect_base(bench) == before


def inspect_base(bench: Bench) -> str:
    return (bench.build / "debian-12" / "layout" / "index.json").read_text()


def test_an_odd_environment(bench: Bench) -> None:
    image = bench.recipe("odd-place", title="Ein Gerät")
    bench.environment = {"HOME": None, "TERM": "dumb", "LC_ALL": "C", "LANG": None, "PYTHONUTF8": "0"}
    old = os.umask(0o077)
    try:
        bench.run("build", image)
    finally:
        os.umask(old)
    digest = inspect(f"imagefactory/{image}")["Id"]
    bench.environment = {}
    bench.run("build", image, "--no-cache")
    assert inspect(f"imagefactory/{image}")["Id"] == digest


@pytest.fixture
def somebody(bench: Bench) -> Bench:
    """A checkout that belongs to an ordinary user who may talk to the engine."""
    group = Path("/var/run/docker.sock").stat().st_gid
    home = bench.root / "home"
    home.mkdir()
    give_away(bench)
    for folder in (bench.root, *bench.root.parents):
        if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o011)
    return Bench(
        bench.root,
        {"HOME": str(home), "IMAGEFACTORY_STORE": None, "XDG_STATE_HOME": None},
        ("setpriv", f"--reuid={SOMEBODY}", f"--regid={SOMEBODY}", f"--groups={group}", "--"),
    )


def give_away(bench: Bench) -> None:
    """Let the ordinary user have the checkout, with all that is in it now."""
    subprocess.run(["chown", "-R", f"{SOMEBODY}:{SOMEBODY}", str(bench.root)], check=True)


@root_only
def test_an_ordinary_user_builds_and_tests(somebody: Bench) -> None:
    image = somebody.recipe("by-somebody")
    give_away(somebody)
    somebody.run("build", image)
    owners = {path.stat().st_uid for path in somebody.build.rglob("*")}
    assert owners == {SOMEBODY} == {(somebody.folder(image) / "lock.yaml").stat().st_uid}
    assert not somebody.failed_tests(image)


@root_only
def test_an_ordinary_user_locks_and_fetches(somebody: Bench) -> None:
    image = somebody.recipe("locked-by-somebody", inputs={"apt": ["hello"]})
    give_away(somebody)
    somebody.run("build", image)
    store = somebody.root / "home" / ".local" / "share" / "imagefactory" / "store"
    assert {path.stat().st_uid for path in store.rglob("*")} == {SOMEBODY}
    assert list(store.glob("sha256/*/*"))


@root_only
def test_a_checkout_that_may_not_be_written_to(somebody: Bench) -> None:
    image = somebody.recipe("read-only")
    somebody.run("list", image)
    shutil.rmtree(somebody.build)
    somebody.root.chmod(0o555)
    os.chown(somebody.root, 0, 0)
    ended = somebody.run("build", image, status=1)
    assert len(ended.errors) == 1
    assert f"cannot write {somebody.build}" in ended.errors[0]
    assert "Permission denied" in ended.errors[0]
    assert "free some space" not in ended.err


@root_only
def test_an_ordinary_user_who_may_not_talk_to_the_engine(somebody: Bench) -> None:
    image = somebody.recipe("not-allowed")
    if Path("/var/run/docker.sock").stat().st_mode & 0o006:
        pytest.skip("everybody may talk to this engine")
    words = ("setpriv", f"--reuid={SOMEBODY}", f"--regid={SOMEBODY}", "--clear-groups", "--")
    ended = Bench(somebody.root, somebody.environment, words).run("build", image, status=3)
    assert ended.errors == ["error: you may not talk to the Docker Engine"]


@pytest.fixture
def small_disk(bench: Bench) -> Iterator[Bench]:
    """A checkout whose build/ is a small disk of its own."""
    moved = bench.root / "made"
    bench.build.rename(moved)
    bench.build.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "none", str(bench.build)], check=True)
    try:
        shutil.copytree(moved, bench.build, dirs_exist_ok=True)
        yield bench
    finally:
        subprocess.run(["umount", str(bench.build)], check=True)


@root_only
def test_a_full_disk_below_the_checkout(small_disk: Bench) -> None:
    bench = small_disk
    noise = "head -c 120000000 /dev/urandom >/opt/noise"
    image, small = bench.recipe("full-disk", noise), bench.recipe("small")
    ended = bench.run("build", image, status=1)
    assert ended.errors == [
        f"error: {image}: no space is left in {bench.build / image / 'oci' / 'scratch'}"
    ], ended.text
    assert "free some space" in ended.err
    ended = bench.run("build", "debian-12", "--no-cache", status=1)
    (line,) = ended.errors
    assert re.fullmatch(
        r"error: debian-12 needs \S+ GiB of disk below .*/build, 0\.\S+ GiB are free", line
    ), line
    assert "free some space there" in ended.err
    assert not list(bench.build.glob("**/scratch"))
    fill(bench.build / "filler")
    ended = bench.run("build", small, status=1)
    (line,) = ended.errors
    assert "No space left on device" in line, ended.text
    (bench.build / "filler").unlink()
    # Nothing of the base image was lost.
    bench.run("build", small)
    assert exists(f"imagefactory/{small}")


def fill(file: Path) -> None:
    """Leave no space on the disk of ``file``."""
    with file.open("wb", buffering=0) as out:
        try:
            while True:
                out.write(bytes(4096))
        except OSError:
            return
