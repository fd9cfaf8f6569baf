"""Where a recipe stands in git, asked of a git that says what the test wants."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagefactory.errors import BadInput
from imagefactory.history import EARLIEST, Standing, standing
from imagefactory.run import Finished

COMMIT = "a" * 40

Git = Callable[..., list[list[str]]]


@pytest.fixture
def git(monkeypatch: pytest.MonkeyPatch) -> Git:
    """Sets what git answers, and returns the list of what it will have been asked."""

    def answers(log: str, changed: str = "", status: int = 0) -> list[list[str]]:
        asked: list[list[str]] = []

        def run(argv: list[str], **options: Any) -> Finished:
            asked.append(list(argv))
            return Finished(status, log if "log" in argv else changed, "")

        monkeypatch.setattr("imagefactory.history.run", run)
        monkeypatch.setattr("imagefactory.history.which", lambda program: program)
        return asked

    return answers


def test_the_last_commit_gives_revision_and_time(git: Git, tmp_path: Path) -> None:
    asked = git(f"{COMMIT} 1700000000\n")
    assert standing(tmp_path, "recipe.yaml", "files") == Standing(COMMIT, 1_700_000_000)
    assert [words[-3:] for words in asked] == [["--", "recipe.yaml", "files"]] * 2


def test_uncommitted_changes_show(git: Git, tmp_path: Path) -> None:
    git(f"{COMMIT} 1700000000\n", changed=" M recipe.yaml\n")
    assert standing(tmp_path).revision == f"{COMMIT}-dirty"


@pytest.mark.parametrize("answer", [{"log": ""}, {"log": "fatal", "status": 128}])
def test_no_commit_gives_a_fixed_time(git: Git, tmp_path: Path, answer: dict[str, Any]) -> None:
    git(**answer)
    assert standing(tmp_path) == Standing("unknown", EARLIEST)


def test_no_git_gives_a_fixed_time(tmp_path: Path) -> None:
    assert standing(tmp_path) == Standing("unknown", EARLIEST)


def test_the_environment_sets_the_time(git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(f"{COMMIT} 1700000000\n")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1600000000")
    assert standing(tmp_path) == Standing(COMMIT, 1_600_000_000)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(BadInput, match="SOURCE_DATE_EPOCH is 'yesterday'"):
        standing(tmp_path)


def test_another_user_s_checkout_is_trusted_but_runs_nothing(git: Git, tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    file = tmp_path / "recipes" / "recipe.yaml"
    file.parent.mkdir()
    file.touch()
    asked = git("")
    standing(file)
    for words in asked:
        assert words[:5] == ["git", "-c", f"safe.directory={tmp_path}", "-c", "core.fsmonitor=false"]
