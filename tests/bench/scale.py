"""Many recipes: what reading, planning and rendering them costs, beside others' generators."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.bench.many import many_recipes
from tests.bench.measure import Cost, Row, cost
from tests.bench.peers import HPCCM, NEURODOCKER, install_peers

COMMAND = Path(sys.executable).with_name("imagefactory")
FEW, MANY, MOST = 200, 1000, 10_000


def scale(folder: Path, bases: Path) -> Iterator[Row]:
    """Every comparison, in ``folder``, which is empty."""
    start = cost(sys.executable, "-c", "pass").cpu
    programs = install_peers(folder / "peers")
    roots = {count: many_recipes(folder / str(count), bases, count).root for count in (FEW, MANY, MOST)}
    yield Row("imagefactory --help", "0.15 s", cost(COMMAND, "--help").cpu, 0.15, 1.0)
    yield from _few(roots[FEW], folder, programs, start)
    yield from _one(roots[FEW], folder, programs)
    yield from _growth(roots, start)


def _few(root: Path, folder: Path, programs: Path, start: float) -> Iterator[Row]:
    script = folder / "generate.py"
    script.write_text(NEURODOCKER)
    with _in_memory() as written:
        theirs = cost(programs / "python", script, str(FEW), written / "theirs").cpu
        for words in (["check"], ["list"], ["plan"], ["render", "--all", "--to", str(written / "ours")]):
            ours = _ours(root, *words).cpu
            what = f"{words[0]} of {FEW} recipes"
            yield Row(what, f"neurodocker, {FEW} Dockerfiles in one process", ours, theirs, 1.0)
            yield Row(f"{what}, beyond Python's start", "1 s", ours - start, 1.0, 1.0)


@contextlib.contextmanager
def _in_memory() -> Iterator[Path]:
    """A folder in memory, where there is one: what a file costs there is the program's, not a disk's."""
    memory = Path("/dev/shm")  # a folder of its own in it
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        (Path(name) / "theirs").mkdir()
        yield Path(name)


def _one(root: Path, folder: Path, programs: Path) -> Iterator[Row]:
    recipe = folder / "stage.py"
    recipe.write_text(HPCCM)
    theirs = cost(programs / "hpccm", "--recipe", recipe).cpu
    ours = _ours(root, "render", "app-7", "--to", str(folder / "one")).cpu
    yield Row("render of one image", "hpccm", ours, theirs, 3.0)


def _growth(roots: dict[int, Path], start: float) -> Iterator[Row]:
    """Each in proportion to their number, with a tenth to spare, and in little memory."""
    with _in_memory() as written:
        rendered = ["render", "--all", "--to", str(written / "growing")]
        for words in (["check"], ["list"], ["plan"], rendered):
            found: dict[int, Cost] = {}
            for count, root in roots.items():
                found[count] = _ours(root, *words, repeats=1 if count == MOST else 3)
                shutil.rmtree(written / "growing", ignore_errors=True)
            for count in (MANY, MOST):
                what = f"{words[0]} of {count} recipes"
                ours, theirs = found[count].cpu - start, (found[FEW].cpu - start) * count / FEW
                yield Row(what, f"{count // FEW} × {FEW} recipes", ours, theirs, 1.1)
                yield Row(what, "500 MB", found[count].memory / 1e6, 500.0, 1.0, "MB")


def _ours(root: Path, *words: str, repeats: int = 3) -> Cost:
    return cost(COMMAND, "--root", root, *words, repeats=repeats)
