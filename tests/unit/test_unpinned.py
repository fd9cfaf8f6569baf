"""What is rendered of a request alone: as near to the pinned files as can be, and never taken for them."""

from __future__ import annotations

import re
import tomllib

import pytest

from imagefactory.model.recipe import Inputs, Needs, Pip, Source
from imagefactory.model.spec import BaseDefinition, ImageDefinition, UnpinnedSpec
from imagefactory.targets.oci.render import render_unpinned
from imagefactory.targets.sif.definition import render_definition
from tests.unit.samples import (
    ARCHIVE,
    CONDA,
    GPU,
    PIP,
    REPOSITORY,
    STAGE,
    definition,
    everything,
    image,
    rendered,
    spec,
)

WHOLE = everything()
IMAGES = [
    image(),
    image(build=STAGE),
    image(inputs=Inputs(pip=PIP)),
    image(inputs=Inputs(conda=CONDA)),
    image(inputs=Inputs(sources={"app": ARCHIVE})),
    image(inputs=Inputs()),
    WHOLE,
]


def unpinned(of: ImageDefinition, base: BaseDefinition | None = None) -> UnpinnedSpec:
    return UnpinnedSpec(of, base or definition(), "https://example.org/recipes")


def files(of: ImageDefinition) -> dict[str, str]:
    """Everything that is rendered, the definition file too, by path."""
    made = (*render_unpinned(unpinned(of)), render_definition(unpinned(of), None))
    return {file.path: file.data.decode() for file in made}


def stages(dockerfile: str) -> list[str]:
    return re.findall(r"^FROM \S+(?: AS (\w+))?$", dockerfile, re.MULTILINE)


@pytest.mark.parametrize("of", IMAGES)
def test_the_same_request_gives_the_same_bytes_and_says_that_it_pins_nothing(of: ImageDefinition) -> None:
    one, two = files(of), files(of)
    assert one == two
    for path in ("Dockerfile", "app.def"):
        assert "# VERSIONS ARE NOT PINNED: " in one[path]
        assert "\n#     imagefactory lock app\n" in one[path]
        assert "input-digest" not in one[path]
        assert "/packages/" not in one[path]
        assert "\n\n\n" not in one["Dockerfile"]


@pytest.mark.parametrize("of", IMAGES)
def test_it_has_the_stages_and_layers_of_the_pinned_one(of: ImageDefinition) -> None:
    pinned = {file.path: file.data.decode() for file in rendered(spec(image=of))}
    ours = files(of)
    kept = [name for name in stages(pinned["Dockerfile"]) if name != "download"]
    if not (of.inputs.sources or of.build):
        kept = [name for name in kept if name != "sources"]
    assert stages(ours["Dockerfile"]) == kept
    # What is not a step that installs packages is the same: the same script, environment, labels.
    same = [path for path in pinned if not path.startswith(("Dockerfile", "steps/", "download/"))]
    assert {path: ours[path] for path in same} == {path: pinned[path] for path in same}
    tail = pinned["Dockerfile"].rpartition("\nFROM system\n")[2]
    tail = re.sub(r" +io\.imagefactory\.input-digest=.*\n", "", tail)
    assert ours["Dockerfile"].rpartition("\nFROM system\n")[2] == tail


def test_only_the_steps_that_install_packages_have_a_network() -> None:
    dockerfile = files(WHOLE)["Dockerfile"]
    for run in re.findall(r"^RUN (?:.*\\\n)*.*$", dockerfile, re.MULTILINE):
        assert ("--network=none" in run) == ("/step.sh" not in run), run
    assert dockerfile.count("target=/step.sh") == 4


def test_each_ecosystem_s_own_installer_is_asked_for_what_the_recipe_asks_for() -> None:
    made = files(WHOLE)
    steps = {path: text for path, text in made.items() if path.startswith("steps/")}
    assert set(steps) == {
        f"steps/{name}.sh" for name in ("apt-image", "apt-build", "pip-image", "conda-image")
    }
    assert "\napt-get install --yes --no-install-recommends hello python3\n" in steps["steps/apt-image.sh"]
    assert "\napt-get install --yes --no-install-recommends gcc make\n" in steps["steps/apt-build.sh"]
    project = tomllib.loads(steps["steps/pip-image.sh"].split("<<'END'\n")[1].partition("END\n")[0])
    assert project["project"]["dependencies"] == list(PIP.packages)
    assert project["tool"]["uv"]["sources"] == {"torch": {"index": "wheels"}}
    assert project["tool"]["uv"]["index"][0]["url"] == PIP.indexes["wheels"].url
    assert "<<'(end)'\nsetuptools<80\n(end)\n" in steps["steps/pip-image.sh"]
    conda = steps["steps/conda-image.sh"]
    channels = '["https://conda.anaconda.org/conda-forge", "https://conda.example.org/lab"]'
    assert f'\nCHANNELS = {channels}\nPACKAGES = ["fermitools==2.5.1"]\n' in conda
    compile(conda.split("<<'END'\n")[1].partition("END\n")[0], "conda", "exec")
    assert '"__cuda": "12.4"' in conda
    assert "__cuda" not in files(image(inputs=Inputs(conda=CONDA), needs=Needs()))["steps/conda-image.sh"]
    assert GPU.cuda == "12.4"


def test_no_value_ends_the_text_that_it_stands_in() -> None:
    """Nothing that a requirement may be is the line that ends the constraints."""
    pip = PIP.model_copy(update={"packages": ("END",), "constraints": ("END", "EOF")})
    script = files(image(inputs=Inputs(pip=pip)))["steps/pip-image.sh"]
    assert "<<'(end)'\nEND\nEOF\n(end)\nuv/bin/uv venv " in script
    assert '\ndependencies = ["END", "torch"]\n' in script
    with pytest.raises(ValueError, match="requirement"):
        Pip(packages=("(end)",))


def test_sources_are_pinned_by_the_recipe_all_the_same() -> None:
    sources: dict[str, Source] = {"app": ARCHIVE, "library": REPOSITORY}
    made = files(image(inputs=Inputs(sources=sources)))
    assert (
        f"ADD --chmod=644 --checksum=sha256:{ARCHIVE.sha256} {ARCHIVE.url} /sources/app/\n"
        in made["Dockerfile"]
    )
    assert f"#{REPOSITORY.commit} /sources/library\n" in made["Dockerfile"]
    assert "download/inputs.json" not in made
    assert str(REPOSITORY.commit) in made["download/sources.json"]
    assert "Stage: download" in made["app.def"]


@pytest.mark.parametrize("of", IMAGES)
def test_a_stage_of_the_definition_file_takes_only_from_stages_that_are_there(of: ImageDefinition) -> None:
    text = files(of)["app.def"]
    there = re.findall(r"^Stage: (\w+)$", text, re.MULTILINE)
    assert set(re.findall(r"^%files from (\w+)$", text, re.MULTILINE)) <= set(there)
    assert ("/inputs.tar" in text) == ("download" in there)
    assert set(re.findall(r"/steps/(\S+)", text)) == {
        path.removeprefix("steps/") for path in files(of) if path.startswith("steps/")
    }
