"""Whatever a recipe's file holds, reading it ends in images or in problems of one line each."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagefactory.definitions.recipes import load_images
from imagefactory.errors import BadFiles
from imagefactory.system.workspace import Workspace
from tests.conftest import REPOSITORY

RECIPES = {file.parent.name: file.read_bytes() for file in (REPOSITORY / "recipes").glob("*/recipe.yaml")}

NASTY = [
    *(b"", b"no", b"1.10", b"null", b"~", b"2024-05-01", b"0x" + b"f" * 5000, b"9" * 5000, b".inf", b".nan"),
    *(b"&a", b"*a", b"&a [*a]", b"<<: *a", b"!!python/object:os.system", b"!!binary x", b"!", b"---", b"..."),
    *(b"[", b"]", b"{", b"}", b"[[[[[[" * 20, b"? ", b": ", b"- ", b"|", b">", b"%", b"@", b"`", b"#", b","),
    *(b"'", b'"', b'"\\x00"', b'"\\n"', b'"\\ud800"', b"\t", b"\r", b"\x00", b"\x85", b"\xff", b"\xfe\xff"),
    *(b"\xe2\x80\xa8", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"$(touch x)", b"${HOME}", b"{{ x }}", b"../../x"),
    *(b"a{4294967296}", b"(" * 240, b"(?P<a>", b"[[a]", b"-1", b"1e999", b"1:30:00", b"true", b"x" * 5000),
]

text = st.sampled_from(sorted(RECIPES))
spot = st.integers(min_value=0, max_value=1 << 16)
nasty = st.sampled_from(NASTY) | st.binary(max_size=8)


def flip(content: bytes, where: int, what: bytes) -> bytes:
    where %= len(content) or 1
    return content[:where] + what[:1] + content[where + 1 :]


def insert(content: bytes, where: int, what: bytes) -> bytes:
    where %= len(content) + 1
    return content[:where] + what + content[where:]


def truncate(content: bytes, where: int, what: bytes) -> bytes:
    return content[: where % (len(content) + 1)] + what


def replace_word(content: bytes, where: int, what: bytes) -> bytes:
    words = content.split(b" ")
    words[where % len(words)] = what
    return b" ".join(words)


def replace_value(content: bytes, where: int, what: bytes) -> bytes:
    lines = content.split(b"\n")
    key, colon, _ = lines[where % len(lines)].partition(b": ")
    lines[where % len(lines)] = key + colon + what
    return b"\n".join(lines)


def delete_line(content: bytes, where: int, what: bytes) -> bytes:
    lines = content.split(b"\n")
    del lines[where % len(lines)]
    return b"\n".join(lines)


def double_line(content: bytes, where: int, what: bytes) -> bytes:
    lines = content.split(b"\n")
    lines.insert(where % len(lines), lines[where % len(lines)])
    return b"\n".join(lines)


def swap_lines(content: bytes, where: int, what: bytes) -> bytes:
    lines = content.split(b"\n")
    here, there = where % len(lines), (where // 7) % len(lines)
    lines[here], lines[there] = lines[there], lines[here]
    return b"\n".join(lines)


def indent_line(content: bytes, where: int, what: bytes) -> bytes:
    lines = content.split(b"\n")
    lines[where % len(lines)] = b"  " + lines[where % len(lines)]
    return b"\n".join(lines)


CHANGES: list[Callable[[bytes, int, bytes], bytes]] = [
    *(flip, insert, truncate, replace_word, replace_value),
    *(delete_line, double_line, swap_lines, indent_line),
]
changes = st.lists(st.tuples(st.sampled_from(CHANGES), spot, nasty), min_size=1, max_size=4)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    root = tmp_path_factory.mktemp("checkout")
    for folder in ("recipes", "base_images"):
        shutil.copytree(REPOSITORY / folder, root / folder)
    return Workspace(root)


@settings(max_examples=800, deadline=None, derandomize=True)
@given(name=text, changes=changes)
def test_a_mutated_recipe_is_read_or_refused(
    checkout: Workspace, name: str, changes: list[tuple[Callable[..., bytes], int, bytes]]
) -> None:
    content = RECIPES[name]
    for change, where, what in changes:
        content = change(content, where, what)
    _read(checkout, name, content)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(lambda t: t.encode("utf-8", "replace")))
def test_any_bytes_are_refused(checkout: Workspace, content: bytes) -> None:
    assert not _read(checkout, sorted(RECIPES)[0], content)


def _read(checkout: Workspace, name: str, content: bytes) -> bool:
    """Whether the recipe was taken. Anything but images or one-line problems fails the test."""
    file: Path = checkout.recipes / name / "recipe.yaml"
    file.write_bytes(content)
    try:
        with warnings.catch_warnings(action="error"):
            images = load_images(checkout, [name])
    except BadFiles as error:
        problems = error.problems
    else:
        assert images
        return True
    assert problems
    for line in map(str, problems):
        assert line.startswith(f"recipes/{name}/recipe.yaml")
        assert line.isprintable()
        assert len(line) < 400
    return False
