"""Builds and conversions: each pair runs in turn, several times, and the best of each counts."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from imagefactory.cli.progress import PlainProgress
from imagefactory.system.log import Log
from imagefactory.system.processes import Stop
from imagefactory.targets.oci import DockerBackend
from imagefactory.targets.sif import ApptainerBackend
from tests.bench.measure import Row

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("imagefactory")
IMAGE = "zz-bench"
PIPELINE = "eso-vlt-muse"  # about 300 MB of files
_sizes: dict[str, int] = {}


def engines(workspace: Path) -> Iterator[Row]:
    """Every comparison, in ``workspace``, which is empty."""
    _prepare(workspace)
    try:
        _oci(workspace, IMAGE)  # makes the base image and fills the caches
        _oci(ROOT, PIPELINE)
        for what, against, ours, theirs, goal in _pairs(workspace):
            first, second = _side_by_side(ours, theirs)
            yield Row(what, against, first, second, goal, "s")
        ours, theirs = _sizes["imagefactory"] / 1e6, _sizes["apptainer"] / 1e6
        yield Row("size of the SIF file", "apptainer's", ours, theirs, 1.0, "MB")
    finally:
        for tag in ("2.10", "latest"):
            _run("docker", "image", "rm", "--force", f"imagefactory/{IMAGE}:{tag}")


def _pairs(workspace: Path) -> list[tuple[str, str, Callable[[], None], Callable[[], None], float]]:
    install = workspace / "recipes" / IMAGE / "install.sh"

    def start_python() -> None:
        _run(sys.executable, "-c", "import click, docker, pydantic, rich, yaml")

    def edit_and_build() -> None:
        install.write_text(install.read_text() + f"# edited at {time.time_ns()}\n")
        _oci(workspace, IMAGE)

    theirs = workspace / "theirs.sif"

    def convert_ours() -> None:
        """All of it: the engine's export, the conversion, the sha256."""
        archive = workspace / "image.tar"
        DockerBackend("bench").export(f"imagefactory/{PIPELINE}", archive)
        digest = json.loads((ROOT / "build" / PIPELINE / "report.json").read_text())["digest"]
        log = Log(PIPELINE, workspace / "log", PlainProgress(verbose=False))
        made = ApptainerBackend().make(PIPELINE, archive, digest, workspace, log, Stop())
        _sizes["imagefactory"] = made.bytes

    def convert_theirs() -> None:
        source = f"docker-daemon:imagefactory/{PIPELINE}:latest"
        _run("apptainer", "build", "--force", str(theirs), source)
        _sizes["apptainer"] = theirs.stat().st_size

    return [
        (
            f"{PIPELINE} from Docker to a SIF file",
            "apptainer build x.sif docker-daemon:…",
            convert_ours,
            convert_theirs,
            0.5,
        ),
        (
            "a build with nothing to do",
            "starting Python with the same libraries",
            lambda: _oci(workspace, IMAGE),
            start_python,
            2.0,
        ),
        (
            "rendering all images of this checkout",
            "starting Python with the same libraries",
            lambda: _factory(ROOT, "render", "--all", "--to", str(workspace / "rendered")),
            start_python,
            4.0,
        ),
        (
            "build and test after an edit of install.sh",
            "build and test without cache",
            edit_and_build,
            lambda: _oci(workspace, IMAGE, "--no-cache"),
            1.0,
        ),
    ]


def _side_by_side(ours: Callable[[], None], theirs: Callable[[], None]) -> tuple[float, float]:
    pairs = [(_seconds(ours), _seconds(theirs)) for _ in range(3)]
    return min(first for first, _ in pairs), min(second for _, second in pairs)


def _seconds(action: Callable[[], None]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _prepare(root: Path) -> None:
    (root / "recipes").mkdir()
    shutil.copytree(ROOT / "base_images", root / "base_images")
    _factory(root, "new", IMAGE)


def _oci(root: Path, *words: str) -> None:
    _factory(root, "build", *words, "--format", "oci")


def _factory(root: Path, *words: str) -> None:
    _run(str(COMMAND), "--root", str(root), *words)


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode and argv[0] != "docker":
        raise SystemExit(f"{' '.join(argv)}\n{done.stdout}{done.stderr}")
