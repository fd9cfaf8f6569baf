"""What a variant changes, and what it adds to."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from imagefactory.definitions.recipes import load_images
from imagefactory.errors import BadFiles
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


PACKAGES = """\
  pip:
    packages: ["Photutils==2.3.0", "numpy>=2", "numpy<3"]
    constraints: ["scipy<2"]
    indexes:
      lab: {url: "https://example.org/simple", packages: [numpy]}
  conda: {channels: [conda-forge], packages: ["fermitools==2.5.1", fermipy]}
"""


def _old(workspace: Make, variant: str) -> ImageDefinition:
    text = RECIPE.replace("commands:", f"{PACKAGES}commands:", 1)
    (image,) = load_images(workspace(f"{text}variants:\n  old:\n{variant}"), ["app"])
    return image


def test_a_package_of_the_same_name_takes_the_place_of_the_recipe_s(workspace: Make) -> None:
    image = _old(
        workspace,
        """\
    inputs:
      pip: {packages: ["photutils[all]==2.2.0", ginga], constraints: ["SciPy<1.15"]}
      conda: {channels: [conda-forge, fermi], packages: ["fermitools==2.2.0"]}
""",
    )
    assert image.inputs.pip is not None
    assert image.inputs.conda is not None
    assert image.inputs.pip.packages == ("photutils[all]==2.2.0", "numpy>=2", "numpy<3", "ginga")
    assert image.inputs.pip.constraints == ("SciPy<1.15",)
    assert image.inputs.conda.packages == ("fermitools==2.2.0", "fermipy")
    assert image.inputs.conda.channels == ("conda-forge", "fermi")


def test_a_variant_says_of_packages_only_what_differs(workspace: Make) -> None:
    image = _old(
        workspace,
        """\
    inputs:
      pip: {constraints: [numpy==2.0]}
      conda: {packages: ["fermitools==2.2.0"]}
""",
    )
    assert image.inputs.pip is not None
    assert image.inputs.conda is not None
    assert image.inputs.pip.packages == ("Photutils==2.3.0", "numpy>=2", "numpy<3")
    assert image.inputs.pip.constraints == ("scipy<2", "numpy==2.0")
    assert image.inputs.conda.channels == ("conda-forge",)


def test_a_variant_leaves_out_what_it_names(workspace: Make) -> None:
    image = _old(
        workspace,
        """\
    without:
      apt: [hello]
      pip: [NumPy, scipy]
      conda: [fermitools, fermipy]
      commands: [hello]
      tests: [runs]
    commands: [photutils]
    tests: [{name: imports, command: [photutils]}]
""",
    )
    assert image.inputs.apt == ()
    assert image.inputs.pip is not None
    assert image.inputs.pip.packages == ("Photutils==2.3.0",)
    assert (image.inputs.pip.constraints, image.inputs.pip.indexes) == ((), {})
    assert image.inputs.conda is None
    assert image.path == ("/opt/venv/bin",)
    assert image.commands == ("photutils",)
    assert [test.name for test in image.tests] == ["imports"]


def test_a_variant_leaves_out_variables_folders_and_sources(workspace: Make) -> None:
    text = RECIPE + VARIANTS.replace(
        "  default: {}",
        """\
  bare:
    without: {apt: [gcc], sources: [lib], environment: [A], path: [/opt/app/bin], home_folders: [x]}""",
    ).replace(
        "  inputs: {apt: [gcc]}",
        f"""\
  inputs:
    apt: [gcc, make]
    sources: {{lib: {{url: "https://example.org/lib.tar.gz", sha256: "{"a" * 64}"}}}}""",
    ).replace("needs:", "home_folders: [x, y]\nneeds:", 1)
    bare, gpu = load_images(workspace(text), ["app"])
    assert bare.build is not None
    assert (bare.build.inputs.apt, bare.build.inputs.sources) == (("make",), {})
    assert (bare.environment, bare.path, bare.home_folders) == ({"B": "1"}, (), ("y",))
    assert gpu.home_folders == ("x", "y")


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


FILES = """\
files:
  app.conf: |
    [app]
    \tlevel = 2
  bin/run: |
    #!/bin/sh
    exec hello
variants:
  one: {}
  two: {files: {app.conf: "other\\n"}}
"""


def test_files_stand_in_the_recipe_beside_those_of_its_folder(workspace: Make) -> None:
    root = workspace(RECIPE + FILES)
    (root.recipes / "app" / "files").mkdir()
    (root.recipes / "app" / "files" / "b.txt").write_text("beside\n")
    one, two = load_images(root, ["app"])
    assert [(each.path, each.mode, each.data) for each in one.folder.files] == [
        ("app.conf", 0o644, b"[app]\n\tlevel = 2\n"),
        ("b.txt", 0o644, b"beside\n"),
        ("bin/run", 0o755, b"#!/bin/sh\nexec hello\n"),
    ]
    assert two.folder.files[0].data == b"other\n"
    (root.recipes / "app" / "files" / "bin").write_text("in its way\n")
    (root.recipes / "app" / "files" / "app.conf").write_text("again\n")
    with pytest.raises(BadFiles) as caught:
        load_images(root, ["app"])
    assert [str(each).partition("yaml:")[2] for each in caught.value.problems] == [
        "17:13: files: there is a file files/app.conf too",
        "20:12: files: there is a file files/bin too",
        "25:27: files: there is a file files/app.conf too",
    ]
