"""What short commands cost: what they enter, open and start. Seconds are measured by make bench."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.bench.many import many_recipes
from tests.conftest import REPOSITORY

# Only resolving, fetching, publishing or booting machines need these.
HEAVY = {"requests", "rattler", "openstack", "imagefactory.guest.boot", "imagefactory.sandbox.errand"}
_WATCHED = """\
import json, sys
opened, started = [], []


def note(event, arguments):
    if event == "open" and str(arguments[0]).endswith(".yaml"):
        opened.append(str(arguments[0]))
    if event == "subprocess.Popen":
        started.append(str(arguments[0]))


sys.addaudithook(note)
from imagefactory.cli import main
try:
    main(sys.argv[2:])
except SystemExit as end:
    assert not end.code, end.code
with open(sys.argv[1], "w") as file:
    json.dump({"opened": opened, "started": started, "modules": list(sys.modules)}, file)
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three recipes that are locked, in git."""
    return many_recipes(tmp_path_factory.mktemp("many") / "checkout", REPOSITORY / "base_images", 3).root


def watched(checkout: Path, folder: Path, *words: str) -> dict[str, list[str]]:
    """What a command opens, starts and enters, in a process of its own."""
    told = folder / "told.json"
    argv = [sys.executable, "-c", _WATCHED, str(told), "--root", str(checkout), *words]
    done = subprocess.run(argv, cwd=REPOSITORY, env={**os.environ}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(told.read_text())
    return found


def test_what_is_watched_for_is_there() -> None:
    assert all(find_spec(name) for name in HEAVY)


@pytest.mark.parametrize("words", [("plan", "app-1"), ("render", "app-1", "--to", "out"), ("check",)])
def test_what_only_work_needs_is_not_entered_to_look(
    checkout: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    words = tuple(str(tmp_path / word) if word == "out" else word for word in words)
    modules = watched(checkout, tmp_path, *words)["modules"]
    assert HEAVY & set(modules) == set()
    assert "imagefactory.model.recipe" in modules


def test_a_plan_opens_each_file_once_and_asks_git_four_times(checkout: Path, tmp_path: Path) -> None:
    found = watched(checkout, tmp_path, "plan", "app-1")
    ours = Counter(name for name in found["opened"] if name.startswith(str(checkout)))
    names = {str(Path(name).relative_to(checkout)) for name in ours}
    assert names >= {f"recipes/app-1/{file}.yaml" for file in ("recipe", "lock")}
    assert [name for name, times in ours.items() if times > 1] == []
    # The last commit, and changes since: of the recipe, and of its base image.
    assert len(found["started"]) <= 4, found["started"]
    assert set(found["started"]) == {"git"}
