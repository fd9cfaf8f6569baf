"""Nothing from a recipe breaks out of what it is written into: Dockerfile, environment or paths."""

from __future__ import annotations

import copy
import json
import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagefactory.definitions.recipes import load_images
from imagefactory.errors import BadFiles
from imagefactory.model.spec import ImageDefinition
from imagefactory.system.workspace import Workspace
from tests.conftest import INSTALL, REPOSITORY
from tests.unit.samples import rendered, spec

TAME: dict[str, Any] = {
    "name": "app",
    "title": "An application",
    "summary": "Says hello.",
    "version": "1.0",
    "homepage": "https://example.org/app",
    "licence": "MIT",
    "citation": ["A Paper, 2024"],
    "maintainers": [{"name": "A Maintainer", "email": "a@example.org"}],
    "base": "debian-12",
    "inputs": {
        "apt": ["hello"],
        "sources": {
            "app": {"url": "https://example.org/app.tar.gz", "sha256": "a" * 64},
            "library": {"git": "https://example.org/library.git", "commit": "b" * 40},
        },
    },
    "build": {"inputs": {"apt": ["gcc"]}, "keep": ["/opt/app"]},
    "environment": {"GREETING": "hello", "FAREWELL": "bye"},
    "path": ["/opt/app/bin"],
    "commands": ["hello"],
    "tests": [{"name": "runs", "command": ["hello", "--version"], "files": ["out.txt"]}],
}

HOOKS = [
    *('"', "'", "\\", "\\\\", "$", "`", "${HOME}", "$HOME", "${PATH}", "${BASE}", "$(touch x)", "`touch x`"),
    *("\n", "\r", "\0", "\x1b[31m", "\u2028", "\x85", "\\\n", "#", "# escape=`", " ", "  ", "\t", ";", "&&"),
    *("{{ image }}", "{% raw %}", "{#", "<<EOF", "EOF", "\nRUN touch x", "\nUSER root", '"\nUSER root\n#'),
    *("../", "/..", "/", "-", "--", "*", "?", "[", "]", "(", ")", "!", "~", "=", ":", "@", "%0a", "a", "1"),
    *("é", "漢", "🔭", "\u202e", "\u00a0", "ß", "export", "|", ">", "<", "ENV A=b", "https://x/", "\ufeff"),
]
nasty = st.lists(st.sampled_from(HOOKS) | st.text(max_size=3), min_size=1, max_size=6).map("".join)


def leaves(value: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all texts in a recipe."""
    if isinstance(value, str):
        yield where
        return
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        yield from leaves(item, (*where, key))


def take(recipe: Any, where: tuple[Any, ...]) -> Any:
    for part in where:
        recipe = recipe[part]
    return recipe


def put(recipe: dict[str, Any], where: tuple[Any, ...], value: str) -> None:
    take(recipe, where[:-1])[where[-1]] = value


def rename(recipe: dict[str, Any], where: tuple[Any, ...], name: str) -> None:
    home = take(recipe, where[:-1])
    home[name] = home.pop(where[-1])


LEAVES = sorted(leaves(TAME), key=str)
# Free text twice as often: it admits most.
FREE = [p for p in LEAVES if p[0] in ("title", "summary", "citation", "environment", "maintainers")] * 2
NAMES: list[tuple[Any, ...]] = [("environment", "GREETING"), ("inputs", "sources", "app")]


@st.composite
def recipes(draw: st.DrawFn) -> dict[str, Any]:
    recipe = copy.deepcopy(TAME)
    for where in draw(st.lists(st.sampled_from(LEAVES + FREE), min_size=1, max_size=3)):
        before = draw(st.sampled_from(["", take(TAME, where)]))
        put(recipe, where, before + draw(nasty))
    if draw(st.integers(0, 5)) == 0:
        rename(recipe, draw(st.sampled_from(NAMES)), draw(nasty))
    return recipe


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    root = tmp_path_factory.mktemp("checkout")
    (root / "base_images").mkdir()
    base = (REPOSITORY / "base_images" / "debian-12.yaml").read_text()
    (root / "base_images" / "debian-12.yaml").write_text(base)
    (root / "recipes" / "app").mkdir(parents=True)
    (root / "recipes" / "app" / "install.sh").write_text(INSTALL)
    return Workspace(root)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(recipe=recipes())
def test_an_accepted_value_stays_a_value(checkout: Workspace, recipe: dict[str, Any]) -> None:
    try:
        image = load(checkout, recipe)
    except BadFiles as error:
        refused = error
    else:
        check_rendered(image, load(checkout, TAME))
        return
    assert all(str(problem).isprintable() for problem in refused.problems)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(value=nasty.filter(lambda text: not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", text)))
def test_any_printable_variable_is_taken_as_it_is(checkout: Workspace, value: str) -> None:
    image = load(checkout, {**TAME, "environment": {"GREETING": value, "FAREWELL": "${HOME}" + value}})
    assert image.environment == {"GREETING": value, "FAREWELL": "${HOME}" + value}
    check_rendered(image, load(checkout, TAME))


def test_the_checks_below_notice_what_breaks_out(checkout: Workspace) -> None:
    """The net has no holes: what an unescaped value would render to is caught."""
    assert words('LABEL a="b\\"c" d="e\\$f\\\\"') == ["LABEL", 'a=b"c', "d=e$f\\"]
    for broken in ('LABEL a="b" c', 'LABEL a="${HOME}"', 'LABEL a="b"c"', 'LABEL a="b\\'):
        with pytest.raises(AssertionError):
            words(broken)
    for broken in ("$(x)", '"${HOME}${PATH}"', "'b'`x`", "'b';x"):
        with pytest.raises(AssertionError):
            shell_value(f'[ -n "${{A+set}}" ] || A={broken}', "export A")


def load(checkout: Workspace, recipe: dict[str, Any]) -> ImageDefinition:
    # JSON is YAML, but for \uD800 and the like, which cannot be written at all.
    text = json.dumps(recipe, ensure_ascii=False).encode("utf-8", "surrogatepass")
    (checkout.recipes / "app" / "recipe.yaml").write_bytes(text)
    (image,) = load_images(checkout, ["app"])
    return image


def check_rendered(image: ImageDefinition, tame: ImageDefinition) -> None:
    files = {file.path: file.data.decode() for file in rendered(spec(image=image))}
    tame_files = {file.path: file.data.decode() for file in rendered(spec(image=tame))}
    assert files.keys() == tame_files.keys()
    _check_dockerfile(files["Dockerfile"], tame_files["Dockerfile"], image)
    _check_environment(files["environment.sh"], image)
    assert files["entrypoint.sh"] == tame_files["entrypoint.sh"]


def _check_dockerfile(text: str, tame: str, image: ImageDefinition) -> None:
    lines = instructions(text)
    without_env = [line for line in lines if not line.startswith("ENV ")]
    tame_lines = [line for line in instructions(tame) if not line.startswith("ENV ")]
    assert [line.split(" ")[0] for line in without_env] == [line.split(" ")[0] for line in tame_lines]
    for line, expected in zip(without_env, tame_lines, strict=True):
        if not line.startswith(("LABEL ", "ADD ", "COPY ")) and "apt-get install" not in line:
            assert line == expected
        if line.startswith(("ADD ", "COPY ")):
            assert len(line.split(" ")) == len(expected.split(" "))
            assert re.fullmatch(r"[A-Za-z0-9 ._~:/?#!&()*+,;=%@-]*", line)
        if "apt-get install" in line:
            packages, _, rest = line.partition("recommends")[2].partition(" && ")
            assert re.fullmatch(r"[ a-z0-9.+-]+", packages)
            assert rest == expected.partition("recommends")[2].partition(" && ")[2]
    (labels,) = (words(line, known=BASE_LABELS) for line in lines if line.startswith("LABEL "))
    assert labels[1:10] == [
        f"org.opencontainers.image.{name}={value}"
        for name, value in {
            "title": image.title,
            "description": image.summary,
            "version": image.version,
            "licenses": image.licence,
            "authors": f"{image.maintainers[0].name} <{image.maintainers[0].email}>",
            "url": image.homepage,
            "source": "https://example.org/recipes",
            "revision": image.folder.revision,
            "created": "2023-11-14T22:13:20Z",
        }.items()
    ]
    assert not any(re.search(r"[^A-Za-z0-9._+/@-]", folder) for folder in image.path)
    path = f"PATH={':'.join(image.path)}:${{PATH}}"
    variables = [
        words(line, known=(path,)) for line in lines if line.startswith("ENV ") and "LANG=" not in line
    ]
    at_build = {k: v for k, v in image.environment.items() if "${HOME}" not in v}
    assert [line[1:] for line in variables] == [[f"{k}={v}"] for k, v in at_build.items()] + [[path]]


def _check_environment(text: str, image: ImageDefinition) -> None:
    lines = [line for line in text.splitlines() if not line.startswith(("#", "case ", "export PATH"))]
    assert text.count("\n") == len(text.splitlines())
    pairs = zip(lines[::2], lines[1::2], strict=True)
    assert [shell_value(*pair) for pair in pairs] == [f"{k}={v}" for k, v in image.environment.items()]
    for line in text.splitlines():
        if line.startswith("case "):
            assert re.fullmatch(
                r'case ":\$\{PATH\}:" in \*:(/[\w./@+-]*):\*\) ;; \*\) PATH=\1:\$\{PATH\} ;; esac', line
            )


def instructions(text: str) -> list[str]:
    """The instructions of a Dockerfile: comments left out, continued lines joined."""
    kept = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))
    return [line for line in re.sub(r"\\\n\s*", "", kept).split("\n") if line]


WORD = re.compile(r'([A-Za-z0-9_.-]+)=(?:"((?:[^"\\]|\\.)*)"|([A-Za-z0-9_.-]+))(?: +|$)')
BASE_LABELS = tuple(f"org.opencontainers.image.base.{k}" for k in ("name=${BASE}", "digest=${BASE_DIGEST}"))
PIECE = re.compile(r"""'([^']*)'|"(')"|"(\$\{HOME\})"|([A-Za-z0-9_@%+=:,./-])""")


def words(line: str, known: tuple[str, ...] = ()) -> list[str]:
    """The words of an ENV or LABEL line, unquoted. Fails on anything left to expand but ``known``."""
    instruction, _, rest = line.partition(" ")
    found = [instruction]
    while rest:
        word = WORD.match(rest)
        assert word, f"not a name and a quoted value: {rest}"
        value = word[2] if word[2] is not None else word[3]
        escaped = re.sub(r"\\.", "", value)
        assert "$" not in escaped or f"{word[1]}={value}" in known, f"expands something: {value}"
        found.append(word[1] + "=" + re.sub(r"\\(.)", r"\1", value))
        rest = rest[word.end() :]
    return found


def shell_value(line: str, export: str) -> str:
    """The ``name=value`` that two lines set and export. Fails unless all but ${HOME} is quoted."""
    unset, _, rest = line.partition(" || ")
    name = export.removeprefix("export ")
    assert unset == f'[ -n "${{{name}+set}}" ]'
    whole, value = rest, ""
    while rest:
        piece = PIECE.match(rest)
        assert piece, f"not quoted: {rest}"
        value += "".join(text or "" for text in piece.groups())
        rest = rest[piece.end() :]
    assert shlex.split(whole) == [value]
    return value
