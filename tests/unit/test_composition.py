"""Values used twice, parts, and what differs on an architecture: how they become one image."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from imagefactory.definitions.bases import host_architecture
from imagefactory.definitions.recipes import check_parts, load_images, requests_of
from imagefactory.errors import BadFiles
from imagefactory.model.spec import ImageDefinition
from imagefactory.system.workspace import Workspace
from tests.unit.samples import RECIPE, files_of_part

Make = Callable[..., Workspace]

VALUES = """\
values: {release: "1.5", folder: /opt/app}
environment: {APP: "${folder}/${release}", HERE: "${HOME}/${unknown}", ON: "${machine}"}
test_data:
  stars: {url: "https://example.org/${release}/stars.csv", sha256: "SHA"}
variants:
  new: {}
  old:
    values: {release: "1.4+a"}
    tests:
      - {name: version, command: [hello, "${release}"], output: ["^${release}$"], data: [stars]}
""".replace("SHA", "a" * 64)
WITH_VALUES = RECIPE.replace('version: "1.0"', 'version: "${release}"').replace(
    "command: [hello, --version]", "command: [hello, --version]\n    data: [stars]"
)
PART = """\
name: tools
title: Tools of several recipes
values: {release: "0.9", level: "2"}
inputs: {apt: [bc, hello]}
build:
  inputs: {apt: [gcc], sources: {tools: {url: "https://example.org/tools-${release}.tar.gz", sha256: "SHA"}}}
  keep: [/opt/tools]
environment: {LEVEL: "${level}", TOOLS: "${release}"}
path: [/opt/tools/bin]
commands: [tool]
needs: {memory: 4 GiB, disk: 3 GiB}
tests:
  - {name: tool, command: [sh, /tests/parts/tools/tool.sh]}
""".replace("SHA", "a" * 64)


def one(images: list[ImageDefinition], variant: str = "default") -> ImageDefinition:
    return next(image for image in images if image.variant == variant)


def test_values_are_filled_in_for_each_variant(workspace: Make) -> None:
    images = load_images(workspace(WITH_VALUES + VALUES), ["app"])
    new, old = one(images, "new"), one(images, "old")
    assert (new.version, old.version) == ("1.5", "1.4+a")
    assert new.environment["APP"] == "/opt/app/1.5"
    assert old.environment["APP"] == "/opt/app/1.4+a"
    # A name that is no value stays as it is, so that words of shells do.
    assert old.environment["HERE"] == "${HOME}/${unknown}"
    assert old.environment["ON"] == {"amd64": "x86_64", "arm64": "aarch64"}[host_architecture()]
    assert old.test_data["stars"].url == "https://example.org/1.4+a/stars.csv"
    test = next(test for test in old.tests if test.name == "version")
    assert test.command == ("hello", "1.4+a")
    assert test.output == (r"^1\.4\+a$",)  # in a pattern a value is what it is
    assert dict(old.values) == {"release": "1.4+a", "folder": "/opt/app"}


@pytest.fixture
def with_part(workspace: Make) -> Workspace:
    made = workspace(RECIPE + "path: [/opt/app/bin]\nparts: [tools]\n")
    files_of_part(made, "tools", PART, install="true\n", tests={"tool.sh": "tool\n"}, files={"a": "a"})
    return made


def test_a_part_stands_under_what_the_recipe_says(with_part: Workspace) -> None:
    image = one(load_images(with_part, ["app"]))
    assert image.inputs.apt == ("hello", "bc")
    assert image.path == ("/opt/app/bin", "/opt/tools/bin")
    assert image.commands == ("hello", "tool")
    assert image.needs.memory == 4 << 30
    assert [test.name for test in image.tests] == ["runs", "tool"]
    assert [file.path for file in image.folder.tests] == ["parts/tools/tool.sh"]
    assert image.build is None
    (stage,) = image.stages
    assert (stage.name, stage.keep, [file.path for file in stage.files]) == ("tools", ("/opt/tools",), ["a"])
    assert image.build_inputs is not None
    assert image.build_inputs.apt == ("gcc",)
    assert image.sources["tools"].url == "https://example.org/tools-0.9.tar.gz"
    places = {asked.name: asked.place for asked in requests_of(with_part, image, "apt")}
    assert places["bc"].startswith("recipes/_parts/tools/part.yaml:4:")
    assert places["hello"].startswith("recipes/app/recipe.yaml:")


def test_what_a_part_writes_is_its_own(workspace: Make) -> None:
    made = workspace(
        RECIPE
        + "parts: [tools]\nfiles: {mine: mine, more: more}\n"
        + "gui_apps: [{name: Hello, command: hello}]\n"
        + "variants:\n  one: {}\n"
        + "  two: {without: {parts: [tools], files: [more], gui_apps: [hello]}}\n"
    )
    more = "files: {note: '${level}'}\n"
    tests = {"tool.sh": "tool\n"}
    files_of_part(made, "tools", PART + more, install="true\n", tests=tests, files={"a": "a"})
    images = load_images(made, ["app"])
    (stage,) = one(images, "one").stages
    assert {file.path: file.data for file in stage.files} == {"a": b"a", "note": b"2"}
    assert [file.path for file in one(images, "one").folder.files] == ["mine", "more"]
    assert one(images, "two").stages == ()
    assert [file.path for file in one(images, "two").folder.files] == ["mine"]
    assert (len(one(images, "one").gui_apps), len(one(images, "two").gui_apps)) == (1, 0)
    assert one(images, "two").environment == {}


def test_a_recipe_s_values_go_before_a_part_s(workspace: Make) -> None:
    made = workspace(
        RECIPE
        + 'parts: [tools]\nvalues: {level: "3"}\nenvironment: {TOOLS: mine}\n'
        + "variants:\n  one: {}\n"
        + "  two: {values: {release: '7'}, without: {commands: [tool], tests: [tool]}}\n"
    )
    files_of_part(made, "tools", PART, install="true\n", tests={"tool.sh": "tool\n"})
    images = load_images(made, ["app"])
    assert one(images, "one").environment == {"LEVEL": "3", "TOOLS": "mine"}
    assert one(images, "two").sources["tools"].url == "https://example.org/tools-7.tar.gz"
    assert one(images, "two").commands == ("hello",)
    assert [test.name for test in one(images, "two").tests] == ["runs"]


def test_parts_are_checked_whoever_has_them(workspace: Make) -> None:
    made = workspace(RECIPE)
    bad = (
        PART.replace("tools.sh", "x")
        .replace("name: tools\n", "name: other\n")
        .replace("[bc, hello]", "[bc, bc]")
    )
    files_of_part(made, "tools", bad, install="true\n")
    files_of_part(made, "plain", "name: plain\ntitle: Nothing to install\nbuild: {keep: [/opt/plain]}\n")
    files_of_part(made, "open", "name: open\ntitle: A script and no stage\nversion: '1'\n", install="true\n")
    said = {(p.path, p.line, p.message) for p in check_parts(made)}
    assert {(path.removeprefix("recipes/_parts/"), line) for path, line, _ in said} == {
        ("tools/part.yaml", 1),
        ("tools/part.yaml", 4),
        ("tools/part.yaml", 13),
        ("plain/part.yaml", 3),
        ("open/part.yaml", 1),
        ("open/part.yaml", 3),
    }
    load_images(made, ["app"])  # which has none of them
    (made.recipes / "app" / "recipe.yaml").write_text(RECIPE + "parts: [tools]\n")
    with pytest.raises(BadFiles):
        load_images(made, ["app"])


def test_what_differs_on_this_kind_of_machine(workspace: Make) -> None:
    here = host_architecture()
    other = {"amd64": "arm64", "arm64": "amd64"}[here]
    images = load_images(
        workspace(
            RECIPE
            + f"architectures:\n  {here}: {{inputs: {{apt: [here]}}, values: {{kind: native}}}}\n"
            + f"  {other}: {{inputs: {{apt: [there]}}, without: {{commands: [hello]}}}}\n"
            + "environment: {KIND: '${kind} ${architecture}'}\nvalues: {kind: any}\n"
            + "variants:\n  one:\n    architectures:\n"
            + f"      {here}: {{without: {{apt: [hello]}}, version: '2'}}\n"
        ),
        ["app"],
    )
    image = one(images, "one")
    assert image.inputs.apt == ("here",)
    assert image.commands == ("hello",)
    assert image.version == "2"
    assert image.environment == {"KIND": f"native {here}"}
