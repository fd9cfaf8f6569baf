"""How fast the factory is, as ratios of two things measured side by side. Run it with: make bench

Absolute times mean little on shared machines; each pair below runs in turn, several times, and the
best of each counts.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("imagefactory")
IMAGE = "zz-bench"


def main() -> None:
    """Measure every pair and print one line for each."""
    table = Table(box=None, header_style="bold")
    for column in ("what", "against", "ratio"):
        table.add_column(column)
    with tempfile.TemporaryDirectory() as folder:
        workspace = _workspace(Path(folder))
        try:
            _factory(workspace, "build", IMAGE)  # makes the base image and fills the caches
            for what, against, ours, theirs in _pairs(workspace):
                first, second = _side_by_side(ours, theirs)
                table.add_row(what, against, f"{first / second:.2f}  ({first:.2f} s / {second:.2f} s)")
        finally:
            for tag in ("2.10", "latest"):
                _run("docker", "image", "rm", "--force", f"imagefactory/{IMAGE}:{tag}")
    Console().print(table)


def _pairs(workspace: Path) -> list[tuple[str, str, Callable[[], None], Callable[[], None]]]:
    install = workspace / "recipes" / IMAGE / "install.sh"

    def start_python() -> None:
        _run(sys.executable, "-c", "import click, docker, pydantic, rich, yaml")

    def edit_and_build() -> None:
        install.write_text(install.read_text() + f"# edited at {time.time_ns()}\n")
        _factory(workspace, "build", IMAGE)

    return [
        (
            "a build with nothing to do",
            "starting Python with the same libraries",
            lambda: _factory(workspace, "build", IMAGE),
            start_python,
        ),
        (
            "rendering all images of this checkout",
            "starting Python with the same libraries",
            lambda: _factory(ROOT, "render", "--all", "--to", str(workspace / "rendered")),
            start_python,
        ),
        (
            "build and test after an edit of install.sh",
            "build and test without cache",
            edit_and_build,
            lambda: _factory(workspace, "build", IMAGE, "--no-cache"),
        ),
    ]


def _side_by_side(ours: Callable[[], None], theirs: Callable[[], None]) -> tuple[float, float]:
    pairs = [(_seconds(ours), _seconds(theirs)) for _ in range(3)]
    return min(first for first, _ in pairs), min(second for _, second in pairs)


def _seconds(action: Callable[[], None]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _workspace(root: Path) -> Path:
    (root / "recipes").mkdir()
    shutil.copytree(ROOT / "base_images", root / "base_images")
    _factory(root, "new", IMAGE)
    return root


def _factory(root: Path, *words: str) -> None:
    _run(str(COMMAND), "--root", str(root), *words)


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode and argv[0] != "docker":
        raise SystemExit(f"{' '.join(argv)}\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
