"""What others wrote stays within its comment, its message and its line, whatever characters it holds."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from imagefactory.errors import BadFiles
from imagefactory.importing import read_foreign
from imagefactory.importing.drafting.draft import Remark
from imagefactory.importing.drafting.script import Halt, Note
from imagefactory.importing.inert import inert
from imagefactory.importing.writing.yamltext import Lines
from tests.unit.imports import Brought, Make, bring, recipe_of

Import = Callable[..., Brought]
BREAKS = ("\n", "\r", "\x85", "\u2028", "\x0b", "\x1b", "\x07", "\r\n", "\u202e", "\x00")


@pytest.fixture
def imported(workspace: Make, tmp_path: Path) -> Import:
    return lambda text, **options: bring(workspace, tmp_path / "their", text, **options)


@pytest.mark.parametrize("sign", BREAKS)
def test_one_line_of_harmless_characters(sign: str) -> None:
    text = f"a{sign}touch /tmp/x"
    lines = Lines()
    lines.comment(text)
    lines.inactive([text])
    lines.pair("key", "value", text)
    lines.sequence("list", {"item": text})
    remark = Remark(text, text, "not", text)
    shown = [str(Note(text)), str(Halt(text, text)), inert(text), remark.kind, remark.place, remark.why]
    assert len(lines.lines) == 5
    assert all(line.isprintable() for line in [*shown, *lines.lines])
    assert str(Halt("a", "it's b'; touch c")) == "fail 'a: its b; touch c'"
    assert inert("\x1b[31m\x07") == "\\x1b[31m\\x07"


def commands(script: str) -> list[str]:
    """The lines of a script that are no comments, without those that every script has."""
    body = script.partition("set -e\n")[2]
    body = re.sub(r"^(fail|need)\(\) \{\n.*?^\}\n", "", body, flags=re.MULTILINE | re.DOTALL)
    return [line for line in body.split("\n") if line.strip() and not line.startswith(("#", "fail '"))]


def test_names_of_templates(imported: Import) -> None:
    name = "t\ntouch /tmp/owned\n"
    instructions = [
        {"name": "from_", "kwds": {"base_image": "debian:12"}},
        {"name": name, "kwds": {"version": "1\u2028\x1b", "a\nb": "c"}},
    ]
    found = imported(json.dumps({"pkg_manager": "apt", "instructions": instructions}), file="spec.json")
    assert commands(found.script) == []
    (remark,) = [each for each in found.imported.remarks if each.outcome == "not"]
    assert (remark.kind, "\n" in remark.why) == ("template t touch /tmp/owned ", False)


def test_halves_of_characters(imported: Import) -> None:
    text = """{"instructions": [
        {"name": "from_", "kwds": {"base_image": "debian:12"}}, {"name": "env", "kwds": {"A": "\\ud800"}},
        {"name": "run", "kwds": {"command": "echo \\ud800"}},
        {"name": "\\ud800", "kwds": {"a": "\\udfff"}}]}"""
    found = imported(text, file="spec.json")
    assert "\necho ?\n" in found.script
    assert "fail 'instruction 4: the template \\ud800 is to be replaced'" in found.script


def test_texts_of_a_build_yaml(imported: Import) -> None:
    text = r"""
- template: {name: "a\ntouch /tmp/owned", version: "1\r2"}
- copy: ["no\ntouch /tmp/owned", /opt/x]
- "run\ntouch /tmp/owned": x
- run: ["{{ context.\ntouch }}\ntouch /tmp/owned"]
- include: "no\ntouch /tmp/owned"
- workdir: /
- run: ["# c\x0bd\x1b", "curl -O https://example.org/$X\x85"]
- test: {name: "n\ntouch /tmp/owned", manual: true, script: "a\x85b"}
"""
    found = imported(recipe_of(text, 'copyright: [{name: x, url: "https://a\\nb: c"}]\n'))
    assert [line for line in commands(found.script) if "touch" in line] == []
    assert all(line.isprintable() for line in found.recipe.split("\n"))
    assert [
        line for line in found.script.split("\n") if line.startswith("#") and not line.isprintable()
    ] == []


def test_moved_folders_leave_comments_alone(imported: Import) -> None:
    text = """\
- template: {name: miniconda, version: 1, install_path: "#", conda_install: numpy}
- template: {name: ants, version: "x || touch /tmp/owned"}
"""
    found = imported(recipe_of(text))
    assert commands(found.script) == []
    assert "# Not translated: the template ants version=x || touch /tmp/owned: " in found.script


def test_what_is_no_recipe_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("FROM a\nRU\x1b[31mN\x07 make\n")
    with pytest.raises(BadFiles) as error:
        read_foreign(tmp_path / "x", dockerfile=True)
    assert "begins with 'RU\\x1b[31mN\\x07'" in str(error.value)
