"""What the engines' work costs through the factory, beside doing the same by hand."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from imagefactory.system.log import Log, Silence
from imagefactory.system.processes import Stop
from imagefactory.targets.sif.convert import TestedImage, convert
from tests.bench.measure import Row, cost

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("imagefactory")
IMAGE = "zz-bench"
PIPELINE = "eso-vlt-muse"
PACKAGES = ("g++", "gfortran", "python3-numpy")
# Ends as the command would, and writes the names of all modules of libraries that it has loaded.
_LOADED = """\
import sys
from imagefactory.cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
names = [n for n, m in sys.modules.items() if "site-packages" in (getattr(m, "__file__", None) or "")]
print("\\n".join(name for name in names if name.split(".")[0] != "__editable__"), file=sys.stderr)
"""
SECONDS = (20, 17, 14, 11)  # that four independent images wait for
_REPEATS = 3


def engines(folder: Path) -> Iterator[Row]:
    """Every comparison, in ``folder``, which is empty."""
    _factory(ROOT, "build", PIPELINE)
    root = folder / "checkout"
    _prepare(root)
    try:
        yield _nothing_to_do()
        yield from _sif(folder)
        yield from _cold(root, folder)
        yield _four(root)
        yield _edit(root)
    finally:
        for name in (IMAGE, *_waiting()):
            for tag in ("latest", "1.0"):
                _run("docker", "image", "rm", "--force", f"imagefactory/{name}:{tag}")


def _nothing_to_do() -> Row:
    """Beside Python's loading of exactly the modules of libraries that such a build loads."""
    words = ["--root", str(ROOT), "build", PIPELINE]
    done = subprocess.run([sys.executable, "-c", _LOADED, *words], capture_output=True, text=True, check=True)
    imports = "".join(f"import {name}\n" for name in done.stderr.split())
    ours = cost(COMMAND, *words, repeats=5).cpu
    theirs = cost(sys.executable, "-c", imports, repeats=5).cpu
    return Row("a build with nothing to do", "importing the same libraries", ours, theirs, 2.0)


def _sif(folder: Path) -> Iterator[Row]:
    """All of a conversion: the engine's export, and the file."""
    ours_file, theirs_file = folder / "ours.sif", folder / "theirs.sif"
    report = json.loads((ROOT / "build" / PIPELINE / "oci" / "report.json").read_text())

    def ours() -> None:
        archive = folder / "image.tar"
        _run("docker", "save", "--output", str(archive), report["reference"])
        log = Log(PIPELINE, folder / "log", Silence())
        convert(TestedImage(PIPELINE, report["digest"], archive), ours_file, folder, log, Stop())

    def theirs() -> None:
        _run("apptainer", "build", "--force", str(theirs_file), f"docker-daemon:{report['reference']}")

    what, against = f"{PIPELINE} from Docker to a SIF file", "apptainer build x.sif docker-daemon:…"
    first, second = _side_by_side(ours, theirs)
    yield Row(what, against, first, second, 0.5, "s")
    first, second = (file.stat().st_size / 1e6 for file in (ours_file, theirs_file))
    yield Row("size of that file", against, first, second, 1.0, "MB")


def _cold(root: Path, folder: Path) -> Iterator[Row]:
    """Up to the tests, which the others do not have."""
    plain, archive = folder / "plain", folder / "plain.tar"
    plain.mkdir()
    layout = root / "build" / "debian-12" / "layout"
    digest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    (plain / "Dockerfile").write_text(
        "FROM base\n"
        "RUN apt-get update && apt-get install --yes --no-install-recommends "
        f"{' '.join(PACKAGES)} && rm -rf /var/lib/apt/lists/*\n"
        "COPY install.sh /tmp/\nRUN sh /tmp/install.sh && rm /tmp/install.sh\n"
    )
    shutil.copy(root / "recipes" / IMAGE / "install.sh", plain)
    name = f"imagefactory/{IMAGE}:plain"
    words = ["docker", "buildx", "build", "--no-cache", "--network=host", "--provenance=false"]
    words += ["--build-context", f"base=oci-layout://{layout}@{digest}"]
    words += ["--build-arg", "SOURCE_DATE_EPOCH=1700000000"]

    def alike() -> None:
        output = f"type=oci,dest={archive},name={name},rewrite-timestamp=true"
        _run(*words, "--output", output, str(plain))
        _run("docker", "load", "--input", str(archive))

    def usual() -> None:
        _run(*words, "--load", "--tag", name, str(plain))

    def until_tested() -> float:
        return _seconds_until(f"{IMAGE}: testing", root, "build", IMAGE, "--no-cache", "--format", "oci")

    rounds = [(until_tested(), _seconds(alike), _seconds(usual)) for _ in range(_REPEATS)]
    _run("docker", "image", "rm", "--force", name)
    ours, same, other = (min(each) for each in zip(*rounds, strict=True))
    what = "a cold build, up to its tests"
    yield Row(what, "a Dockerfile by hand, to the same kind of archive", ours, same, 1.03, "s")
    # What equal digests cost: BuildKit writes each layer a second time.
    yield Row(what, "the same Dockerfile, with another digest each time", ours, other, 1.3, "s")


def _four(root: Path) -> Row:
    names = _waiting()

    def together() -> None:
        _factory(root, "build", *names, "--no-cache", "--format", "oci")

    def longest() -> None:
        _factory(root, "build", names[0], "--no-cache", "--format", "oci")

    ours, theirs = _side_by_side(together, longest)
    return Row("four independent images", "the longest of them", ours, theirs, 1.25, "s")


def _edit(root: Path) -> Row:
    install = root / "recipes" / IMAGE / "install.sh"

    def edited() -> None:
        install.write_text(install.read_text() + f"# edited at {time.time_ns()}\n")
        _factory(root, "build", IMAGE, "--format", "oci")

    def cold() -> None:
        _factory(root, "build", IMAGE, "--no-cache", "--format", "oci")

    ours, theirs = _side_by_side(edited, cold)
    return Row("build and test after an edit of install.sh", "the same without cache", ours, theirs, 0.5, "s")


def _prepare(root: Path) -> None:
    """A checkout with the base image, an image of real packages, and four that wait."""
    (root / "recipes").mkdir(parents=True)
    shutil.copytree(ROOT / "base_images", root / "base_images")
    _recipe(root, IMAGE, "g++ --version >/usr/share/compiler\n", PACKAGES)
    for name, seconds in zip(_waiting(), SECONDS, strict=True):
        _recipe(root, name, f"sleep {seconds}\n")
    _factory(root, "lock")
    _factory(root, "fetch")
    _factory(root, "build", "debian-12")


def _recipe(root: Path, name: str, install: str, packages: tuple[str, ...] = ()) -> None:
    _factory(root, "new", name)
    folder = root / "recipes" / name
    recipe = {
        "name": name,
        "title": "A measure",
        "version": "1.0",
        "homepage": "https://example.org/measure",
        "licence": "MIT",
        "maintainers": [{"name": "Nobody"}],
        "base": "debian-12",
        "inputs": {"apt": list(packages)},
        "tests": [{"name": "runs", "command": ["echo", "it runs"], "output": ["^it runs$"]}],
    }
    (folder / "recipe.yaml").write_text(json.dumps(recipe))  # which is YAML too
    (folder / "install.sh").write_text(f"#!/bin/sh\nset -eu\n{install}")


def _waiting() -> list[str]:
    return [f"{IMAGE}-{seconds}" for seconds in SECONDS]


def _side_by_side(ours: Callable[[], None], theirs: Callable[[], None]) -> tuple[float, float]:
    pairs = [(_seconds(ours), _seconds(theirs)) for _ in range(_REPEATS)]
    return min(first for first, _ in pairs), min(second for _, second in pairs)


def _seconds(action: Callable[[], None]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _seconds_until(line: str, root: Path, *words: str) -> float:
    """How long a command takes until it says ``line``; then it goes on to its end."""
    start = time.perf_counter()
    with subprocess.Popen(
        [COMMAND, "--root", root, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr
        taken = [time.perf_counter() - start for said in process.stderr if said.rstrip("\n") == line]
    if process.returncode or len(taken) != 1:
        raise SystemExit(f"imagefactory {' '.join(words)} ended with {process.returncode}")
    return taken[0]


def _factory(root: Path, *words: str) -> None:
    _run(str(COMMAND), "--root", str(root), *words)


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode and argv[:3] != ("docker", "image", "rm"):
        raise SystemExit(f"{' '.join(argv)}\n{done.stdout}{done.stderr}")
