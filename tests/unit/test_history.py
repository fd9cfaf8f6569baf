"""Where a recipe stands in git, asked of a git that says what the test wants."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagefactory.errors import BadInput
from imagefactory.system.history import EARLIEST, FEW, Place, Standing, standing, standings
from imagefactory.system.processes import Finished

COMMIT = "a" * 40

Git = Callable[..., list[list[str]]]


@pytest.fixture
def git(monkeypatch: pytest.MonkeyPatch) -> Git:
    """Sets what git answers, and returns the list of what it will have been asked."""

    def answers(log: str, changed: str = "", status: int = 0) -> list[list[str]]:
        asked: list[list[str]] = []

        def run(argv: list[str], **options: Any) -> Finished:
            asked.append(list(argv))
            if "-1" in argv and "\x01" in log:  # one place, where the test says what git tells of many
                return Finished(status, f"{COMMIT} 1700000000\n", "")
            return Finished(status, log if "log" in argv else changed, "")

        monkeypatch.setattr("imagefactory.system.history.run", run)
        monkeypatch.setattr("imagefactory.system.history.which", lambda program: program)
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


def _log(*commits: tuple[str, str, str]) -> str:
    """What git log says: revision, parents, and the paths that were touched."""
    return "\0".join(f"\x01{c * 40} 17000000{n} {p}\0\n{t}\0" for n, (c, p, t) in enumerate(commits, 10))


def _places(top: Path, count: int = FEW + 2) -> list[Place]:
    (top / ".git").mkdir()
    return [Place(top / "recipes" / f"app-{n}", ("recipe.yaml", "files")) for n in range(count)]


def test_many_places_are_asked_for_at_once(git: Git, tmp_path: Path) -> None:
    places = _places(tmp_path)
    rest = "\0".join(f"recipes/app-{n}/files/deep/data" for n in range(FEW + 2))
    changed = " M recipes/app-3/recipe.yaml\0?? recipes/app-4/\0 M recipes/app-5/tests/smoke.sh\0"
    asked = git(
        _log(
            ("a", "b", "recipes/app-1/recipe.yaml\0recipes/app-1/tests/x"),
            ("b", "c", "recipes/app-2/tests/x"),
            ("c", "", rest),
        ),
        changed,
    )
    found = standings(places)
    assert len(asked) == 2
    assert [known.revision for known in found[1:6]] == [
        "a" * 40,
        "c" * 40,
        "c" * 40 + "-dirty",
        "c" * 40 + "-dirty",
        "c" * 40,
    ]
    assert [known.epoch for known in found[:2]] == [1_700_000_012, 1_700_000_010]


def test_beyond_a_merge_each_place_is_asked_for_by_itself(git: Git, tmp_path: Path) -> None:
    places = _places(tmp_path)
    rest = "\0".join(f"recipes/app-{n}/recipe.yaml" for n in range(FEW + 2))
    log = _log(("a", "b", "recipes/app-0/recipe.yaml"), ("b", "c d", ""), ("c", "", rest))
    asked = git(log)
    standings(places)
    alone = [words for words in asked if "-1" in words]
    assert len(alone) == len(places) - 1


def test_many_recipes_in_no_repository(git: Git, tmp_path: Path) -> None:
    git("", status=128)
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    places = [Place(recipes, (f"app{number}/recipe.yaml",)) for number in range(FEW + 1)]
    assert {each.revision for each in standings(places)} == {"unknown"}
