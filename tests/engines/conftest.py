"""One base image and one store for all tests here, and a checkout of its own for each."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from tests.conftest import copy_base_image
from tests.engines.bench import HELLO, PREFIX, RUN, WORKER, Bench, copy_base, remove_images
from tests.engines.probe import Canaries, canaries
from tests.engines.vmbase import NEWEST, disk_of


def _missing() -> str:
    """What these tests need and this machine lacks, or nothing."""
    for program in ("docker", "mmdebstrap", "git", "apptainer", "mksquashfs", "bwrap"):
        if shutil.which(program) is None:
            return f"{program} is not installed: run ci/setup"
    for words in (["docker", "info"], ["docker", "buildx", "version"]):
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        if done.returncode:
            return f"{' '.join(words)} fails: run ci/setup"
    return ""


@pytest.fixture(scope="session", autouse=True)
def engines() -> Iterator[None]:
    """Skip, or in a CI fail, without engines; leave no image behind."""
    missing = _missing()
    if missing and os.environ.get("CI") == "true":
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)
    yield
    remove_images(f"{PREFIX}-")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """What workers share is removed by the one that started them."""
    if not hasattr(session.config, "workerinput") and not _missing():
        remove_images(f"{RUN}-")


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """A folder of this run that all its workers have."""
    folder = factory.getbasetemp()
    return folder.parent if WORKER else folder


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A store for all tests, and accepted licences that are nobody's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMAGEFACTORY_STORE", str(shared_folder(tmp_path_factory) / "store"))
        patch.setenv("IMAGEFACTORY_RETRY_PAUSE", "0.1")
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


def _checkout(root: Path) -> Bench:
    """A checkout without recipes, whose base images are not locked."""
    (root / "recipes").mkdir(parents=True)
    copy_base_image(root)
    return Bench(root)


@pytest.fixture(scope="session")
def first(engines: None, own_folders: None, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """The checkout that locked the base image, to what the archives have today, and made it, by building the
    recipe that ``new`` writes. All workers share it, so only the tests of that recipe do anything in it.
    """
    root = shared_folder(tmp_path_factory) / "first"
    with FileLock(root.with_name("first.lock")):
        made = root.with_name("first.made")
        if not made.exists():
            bench = _checkout(root)
            bench.run("lock", "debian-12", timeout=300)
            bench.run("new", HELLO)
            bench.run("build", HELLO, timeout=600)
            made.touch()
    return Bench(root)


@pytest.fixture(scope="session")
def base_in_engine(first: Bench, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The base image, loaded into the engine under a name of its own."""
    name = f"imagefactory/{PREFIX}-base:1"
    layout = tmp_path_factory.mktemp("base") / "oci"
    shutil.copytree(first.build / "debian-12" / "layout", layout)
    index = json.loads((layout / "index.json").read_text())
    index["manifests"][0]["annotations"] = {"io.containerd.image.name": f"docker.io/{name}"}
    (layout / "index.json").write_text(json.dumps(index))
    packed = subprocess.run(["tar", "-C", str(layout), "-c", "."], stdout=subprocess.PIPE, check=True)
    subprocess.run(["docker", "load"], input=packed.stdout, stdout=subprocess.DEVNULL, check=True)
    return name


@pytest.fixture(scope="session")
def base_as_file(first: Bench, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The words that have a definition file start from the base image that the factory made."""
    archive = tmp_path_factory.mktemp("base") / "base.tar"
    layout = first.build / "debian-12" / "layout"
    words = ["tar", "-C", str(layout), "-cf", str(archive), "oci-layout", "index.json", "blobs"]
    subprocess.run(words, check=True)
    return ["--build-arg", "BOOTSTRAP=oci-archive", "--build-arg", f"BASE={archive}"]


@pytest.fixture(scope="module")
def module_bench(first: Bench, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One checkout for all tests of a module."""
    bench = _checkout(tmp_path_factory.mktemp("module") / "checkout")
    copy_base(first, bench)
    yield bench
    bench.end()


@pytest.fixture
def make_bench(first: Bench, tmp_path: Path) -> Iterator[Callable[[str], Bench]]:
    """Makes checkouts that have a base image, locked and made, and no recipe."""
    made = []

    def make(name: str) -> Bench:
        bench = _checkout(tmp_path / name)
        copy_base(first, bench)
        made.append(bench)
        return bench

    yield make
    for bench in made:
        bench.end()
    for bench in made:
        bench.assert_clean(patience=5)


@pytest.fixture(scope="session")
def vm_disk(own_folders: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disk that boots, for tests of machines: the newest VM base. All workers share it."""
    return disk_of(NEWEST, shared_folder(tmp_path_factory))


@pytest.fixture
def cage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Canaries]:
    """Canaries in the environment of this process, and in its home."""
    with canaries(tmp_path) as found:
        for name, value in found.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HOME", str(found.file.parent))
        yield found


@pytest.fixture
def bench(make_bench: Callable[[str], Bench]) -> Bench:
    """One checkout that has a base image and no recipe."""
    return make_bench("checkout")
