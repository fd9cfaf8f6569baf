"""What a variant changes, and what it adds to."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from imagefactory.definitions.recipes import load_images
from imagefactory.model.spec import ImageDefinition
from imagefactory.system.workspace import Workspace
from tests.unit.samples import RECIPE

Make = Callable[..., Workspace]

VARIANTS = """\
environment: {A: "1", B: "1"}
path: [/opt/app/bin]
build:
  inputs: {apt: [gcc]}
  keep: [/opt/app]
needs: {memory: 2 GiB}
variants:
  default: {}
  gpu:
    title: An application on GPUs
    version: "2.0"
    inputs:
      apt: [cuda, hello]
      sources:
        app: {url: "https://example.org/app.tar.gz", sha256: "SHA"}
    environment: {B: "2", C: "2"}
    path: [/opt/gpu/bin]
    commands: [hello-gpu]
    build: {keep: [/opt/gpu]}
    needs: {gpu: {cuda: "12.4", driver: "525.60.13", capability: ["8.0"]}}
    tests:
      - name: runs
        command: [hello-gpu]
      - name: more
        command: [hello, --more]
""".replace("SHA", "a" * 64)


@pytest.fixture
def images(workspace: Make) -> dict[str, ImageDefinition]:
    return {image.id: image for image in load_images(workspace(RECIPE + VARIANTS), ["app"])}


def test_the_default_variant_is_the_recipe_itself(images: dict[str, ImageDefinition]) -> None:
    image = images["app"]
    assert (image.variant, image.title, image.version) == ("default", "An application", "1.0")
    assert image.environment == {"A": "1", "B": "1"}
    assert [test.name for test in image.tests] == ["runs"]


def test_single_values_replace(images: dict[str, ImageDefinition]) -> None:
    image = images["app-gpu"]
    assert (image.recipe, image.variant) == ("app", "gpu")
    assert (image.title, image.version, image.licence) == ("An application on GPUs", "2.0", "MIT")


def test_lists_and_mappings_add_without_repeating(images: dict[str, ImageDefinition]) -> None:
    image = images["app-gpu"]
    assert image.inputs.apt == ("hello", "cuda")
    assert list(image.inputs.sources) == ["app"]
    assert image.environment == {"A": "1", "B": "2", "C": "2"}
    assert image.path == ("/opt/app/bin", "/opt/gpu/bin")
    assert image.commands == ("hello", "hello-gpu")
    assert image.build is not None
    assert image.build.inputs.apt == ("gcc",)
    assert image.build.keep == ("/opt/app", "/opt/gpu")


def test_only_the_needs_that_a_variant_names_change(images: dict[str, ImageDefinition]) -> None:
    needs = images["app-gpu"].needs
    assert needs.gpu is not None
    assert (needs.gpu.driver, needs.memory, needs.disk) == ("525.60.13", 2 << 30, 1 << 30)
    assert images["app"].needs.gpu is None


def test_a_test_of_the_same_name_replaces(images: dict[str, ImageDefinition]) -> None:
    tests = {test.name: test.command for test in images["app-gpu"].tests}
    assert tests == {"runs": ("hello-gpu",), "more": ("hello", "--more")}


def test_without_variants_there_is_one_image(workspace: Make) -> None:
    (image,) = load_images(workspace(RECIPE), ["app"])
    assert (image.id, image.summary, image.build) == ("app", "", None)


def test_the_folder_belongs_to_every_image(workspace: Make) -> None:
    root = workspace(RECIPE + VARIANTS)
    folder = root.recipes / "app"
    for name in ("files/b.txt", "files/sub/a.txt", "tests/run.sh"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "tests" / "run.sh").chmod(0o700)
    for image in load_images(root, ["app"]):
        assert [(f.path, f.mode, f.data) for f in image.folder.files] == [
            ("b.txt", 0o644, b"files/b.txt"),
            ("sub/a.txt", 0o644, b"files/sub/a.txt"),
        ]
        assert [(f.path, f.mode) for f in image.folder.tests] == [("run.sh", 0o755)]
