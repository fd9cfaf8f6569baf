"""The command: what it writes and says, and that a folder is there whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagefactory.definitions.recipes import load_images
from imagefactory.system.workspace import Workspace
from tests.unit.imports import Make, recipe_of

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def root(workspace: Make) -> Workspace:
    return workspace()


@pytest.fixture
def call(root: Workspace, imagefactory: Call) -> Call:
    return lambda *words: imagefactory("--root", root.root, "import", *words)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "build.yaml"
    file.write_text(
        recipe_of("- install: git\n- run: [make, npm install]\n- template: {name: fsl, version: 6}")
    )
    return file


def test_the_table(call: Call, root: Workspace, file: Path, imagefactory: Call) -> None:
    status, out, err = call(file)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "line 11: run: in part: it asks a network, and install.sh has none"
    assert [line.split() for line in lines if line.startswith(("run ", "all "))] == [
        ["run", "1"],
        ["all", "2", "1", "1"],
    ]
    assert lines[-2:] == [
        "wrote recipes/tool-box/; look for FILL IN there, then run",
        f"  imagefactory --root {root.root} build tool-box",
    ] or lines[-1].endswith(" build tool-box")
    assert imagefactory("--root", root.root, "check", "tool-box")[0] == 0


def test_json(call: Call, file: Path) -> None:
    status, out, _ = call(file, "--json", "--name", "other")
    found = json.loads(out)
    assert status == 0
    assert (found["name"], found["path"], found["format"]) == ("other", "recipes/other", "neurocontainers")
    assert {"kind": "install", "translated": 1, "in part": 0, "not": 0} in found["instructions"]
    assert {remark["outcome"] for remark in found["remarks"]} == {"in part", "not"}


def test_remarks_in_the_order_of_lines(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "build.yaml"
    directives = "".join(f"- run: [npm install {number}]\n" for number in range(3))
    file.write_text(f"draft: true\n{recipe_of(directives)}variants: {{a: b}}\n")
    out = call(file)[1]
    lines = [line.split(":")[0] for line in out.splitlines() if line.startswith("line ")]
    assert lines == ["line 1", "line 11", "line 12", "line 13", "line 14"]
    found = json.loads(call(file, "--json", "--name", "other")[1])
    assert [remark["place"] for remark in found["remarks"]] == lines


@pytest.mark.parametrize(
    ("name", "text"), [("image", "FROM debian:12\nRUN make\n"), ("a.txt", "Some text.\n")]
)
def test_what_import_reads_is_said(call: Call, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    status, _, err = call(tmp_path / name)
    assert status == 2
    assert "→ import reads a build.yaml" in err
    assert "give --dockerfile" in err


def test_nothing_is_overwritten(call: Call, root: Workspace, file: Path) -> None:
    assert call(file)[0] == 0
    before = (root.recipes / "tool-box" / "recipe.yaml").read_bytes()
    status, _, err = call(file, "--base", "debian-12")
    assert status == 2
    assert "recipes/tool-box exists already\n  → give another name with --name" in err
    assert (root.recipes / "tool-box" / "recipe.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--name", "Not Good"], "'Not Good' cannot name a recipe"),
        (["--name", "debian-12"], "base_images/debian-12.yaml exists already"),
        (["--base", "other"], "there is no base image 'other'"),
    ],
)
def test_bad_words(call: Call, root: Workspace, file: Path, words: list[str], message: str) -> None:
    status, _, err = call(file, *words)
    assert status == 2
    assert message in err
    assert list(root.recipes.iterdir()) == []


@pytest.mark.parametrize("words", [["--name", "tool-box"], []])
def test_names_of_images(call: Call, root: Workspace, file: Path, words: list[str]) -> None:
    """An image has a recipe's name and a variant's: import leaves that name to it, as 'new' does."""
    folder = root.recipes / "tool"
    folder.mkdir()
    (folder / "recipe.yaml").write_text(
        "name: tool\ntitle: Tool\nversion: '1'\nhomepage: https://example.org/\nlicence: MIT\n"
        "maintainers: [{name: Someone}]\nbase: debian-12\ntests: [{name: t, command: [x]}]\n"
        "variants: {default: {}, box: {}}\n"
    )
    (folder / "install.sh").write_text("true\n")
    assert [image.id for image in load_images(root, ["tool"])] == ["tool", "tool-box"]
    status, _, err = call(file, *words)
    assert status == 2
    assert "there is an image, recipe or base image called 'tool-box' already\n  → give another" in err
    assert [each.name for each in root.recipes.iterdir()] == ["tool"]


def test_bad_files(call: Call, root: Workspace, tmp_path: Path) -> None:
    assert call(tmp_path / "none")[2].startswith(f"error: {tmp_path / 'none'} is not there")
    assert call(tmp_path)[0] == 2
    (tmp_path / "x.yaml").write_bytes(b"a: \xff\n")
    assert call(tmp_path / "x.yaml")[2].startswith(f"{tmp_path / 'x.yaml'}:1:4: not a text file")
    assert list(root.recipes.iterdir()) == []


def test_a_dockerfile_by_any_name(call: Call, root: Workspace, tmp_path: Path) -> None:
    (tmp_path / "image").write_text("FROM debian:12\nRUN make\n")
    assert call("--dockerfile", tmp_path / "image", "--name", "made")[0] == 0
    assert (root.recipes / "made" / "install.sh").read_text().endswith("# RUN, line 2\nmake\n")


def test_whole_or_not_at_all(
    call: Call, root: Workspace, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = os.open

    def full(path: Any, *words: Any, **options: Any) -> int:
        if str(path).endswith("install.sh"):
            raise OSError(28, "No space left on device", path)
        return really(path, *words, **options)

    monkeypatch.setattr(os, "open", full)
    assert call(file)[0] == 1
    monkeypatch.undo()
    assert list(root.recipes.iterdir()) == []
