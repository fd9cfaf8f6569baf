"""Commands in hints work where the caller is."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from imagefactory.cli.calling import pasteable

HINT = "run imagefactory lock fsl, and commit what it writes"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The caller is here, and has nothing of that name on PATH."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    return tmp_path


def called(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", [*words])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((".venv/bin/imagefactory", "plan"), "run .venv/bin/imagefactory lock fsl"),
        (("/opt/our own/imagefactory", "plan"), "run '/opt/our own/imagefactory' lock fsl"),
        (
            (".venv/bin/imagefactory", "--root", "a b", "x"),
            "run .venv/bin/imagefactory --root 'a b' lock fsl",
        ),
        ((".venv/bin/imagefactory", "--root=x", "plan"), "run .venv/bin/imagefactory --root=x lock fsl"),
        ((".venv/bin/imagefactory", "new", "--root"), "run .venv/bin/imagefactory lock fsl"),
        (("/lib/python3/imagefactory/__main__.py", "plan"), f"run {sys.executable} -m imagefactory lock fsl"),
        (("pytest",), "run imagefactory lock fsl"),
    ],
)
def test_a_command_is_called_as_this_one_was(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], told: str
) -> None:
    called(monkeypatch, *words)
    assert pasteable(HINT) == f"{told}, and commit what it writes"


def test_what_path_finds_needs_no_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "bin" / "imagefactory"
    program.parent.mkdir()
    program.touch()
    monkeypatch.setattr(shutil, "which", lambda name: str(program))
    called(monkeypatch, str(program), "plan")
    assert pasteable(HINT) == HINT
    called(monkeypatch, "elsewhere/imagefactory", "plan")
    assert pasteable(HINT).startswith("run elsewhere/imagefactory lock")


@pytest.mark.parametrize(
    "text", ["a bug in imagefactory: report it", "imagefactory/fsl is gone", "io.imagefactory build", "x"]
)
def test_all_else_stays(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    called(monkeypatch, ".venv/bin/imagefactory", "plan")
    assert pasteable(text) == text


def test_a_root_of_its_own_goes_before_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    called(monkeypatch, "bin/imagefactory", "--root", "here", "unbundle", "file")
    assert pasteable("imagefactory --root there build x") == "bin/imagefactory --root there build x"
