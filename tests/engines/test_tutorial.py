"""The tutorial, word for word: what it says to write is written, what it says to type is typed."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engines.bench import REPOSITORY, Bench, exists

TUTORIAL = REPOSITORY / "docs" / "tutorial.md"
OF_MAKE = {"ARGS", "MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS"}
END = "## When it does not come from a package"
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """What stands between fences, and the file that was named last before it."""

    language: str
    text: str
    file: str

    def commands(self) -> Iterator[tuple[str, list[str]]]:
        """Each command, with the lines that it is said to write."""
        for part in re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]:
            command, *lines = part.splitlines()
            yield command, lines


def blocks() -> Iterator[Block]:
    text = TUTORIAL.read_text(encoding="utf-8").partition(END)[0]
    for found in FENCED.finditer(text):
        named = re.findall(r"`(recipes/\S+)`", text[: found.start()])
        yield Block(found[1], found[2], named[-1] if named else "")


@pytest.fixture
def checkout(bench: Bench) -> Iterator[Path]:
    """A checkout like a clone that is set up."""
    if exists("imagefactory/units"):
        pytest.skip("this machine has an image of the tutorial's name already")
    root = bench.root
    shutil.copytree(REPOSITORY / "ci", root / "ci", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy2(REPOSITORY / name, root / name)
    (root / ".venv").symlink_to(REPOSITORY / ".venv")
    yield root
    bench.run("remove", "units", "--yes", status=None)


def test_the_tutorial_word_for_word(bench: Bench, checkout: Path) -> None:
    typed = 0
    for block in blocks():
        if block.language != "console":
            (checkout / block.file).parent.mkdir(exist_ok=True)
            (checkout / block.file).write_text(block.text, encoding="utf-8")
            continue
        for command, lines in block.commands():
            # What the suite's own make was given is none of theirs.
            done = subprocess.run(
                ["bash", "-c", command],
                cwd=checkout,
                env={k: v for k, v in bench.variables().items() if k not in OF_MAKE},
                capture_output=True,
                text=True,
                timeout=300,
            )
            assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
            written = done.stdout.splitlines()
            assert [line for line in lines if line not in written] == [], f"{command} wrote {done.stdout}"
            typed += 1
    assert typed >= 7
    assert len(list((checkout / "build" / "units").glob("*.sif"))) == 1
