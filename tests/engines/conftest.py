"""One base image and one store for all tests here, and a checkout of its own for each."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import copy_base_images
from tests.engines.bench import PREFIX, Bench, copy_base, docker, images


def _missing() -> str:
    """What these tests need and this machine lacks, or nothing."""
    for program in ("docker", "mmdebstrap", "git", "apptainer", "mksquashfs"):
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
    # A factory that fails these tests may leave more than images.
    for container in docker("ps", "-aq", "--filter", "label=io.imagefactory.workspace").split():
        if PREFIX in docker("inspect", "--format", "{{json .Config.Labels}}", container, status=None):
            docker("rm", "--force", container, status=None)
    for name in images():
        if PREFIX in name:
            docker("image", "rm", "--force", name, status=None)


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A store for all tests, and accepted licences that are nobody's own."""
    with pytest.MonkeyPatch.context() as patch:
        for variable, name in (("IMAGEFACTORY_STORE", "store"), ("XDG_STATE_HOME", "state")):
            patch.setenv(variable, str(tmp_path_factory.mktemp(name)))
        yield


def _checkout(root: Path) -> Bench:
    """A checkout without recipes, whose base images are not locked."""
    (root / "recipes").mkdir(parents=True)
    copy_base_images(root)
    return Bench(root)


@pytest.fixture(scope="session")
def first(engines: None, own_folders: None, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """The checkout that locked the base image, to what the archives have today, and made it, by building the
    recipe that ``new`` writes.
    """
    bench = _checkout(tmp_path_factory.mktemp("first"))
    bench.run("lock", "debian-12", timeout=300)
    bench.run("new", f"{PREFIX}-hello")
    bench.run("build", f"{PREFIX}-hello", timeout=600)
    return bench


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


@pytest.fixture
def bench(make_bench: Callable[[str], Bench]) -> Bench:
    """One checkout that has a base image and no recipe."""
    return make_bench("checkout")
