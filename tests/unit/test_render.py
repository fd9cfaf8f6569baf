"""An image spec to the files of its build: pure, complete, and the same every time."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import pytest

from imagefactory.inputs.kinds import KINDS
from imagefactory.model.environment import shell_word
from imagefactory.model.recipe import GuiApp, Inputs, Maintainer, Needs, SmokeTest, Terms, Waiver
from imagefactory.model.spec import File, ImageDefinition, ImageSpec
from imagefactory.system.templates import quoted
from tests.unit.samples import (
    ARCHIVE,
    CONDA,
    GPU,
    PIP,
    REPOSITORY,
    STAGE,
    apt_file,
    base_lock,
    base_spec,
    definition,
    everything,
    file,
    folder,
    image,
    lock,
    made_up_lock,
    rendered,
    spec,
    target,
)


@dataclasses.dataclass(frozen=True)
class Context:
    """What is rendered of a spec."""

    files: tuple[File, ...]
    input_digest: str


def render(of: ImageSpec) -> Context:
    return Context(rendered(of), target("oci", of).input_digest)


def text(context: Context, path: str) -> str:
    (found,) = (f.data.decode() for f in context.files if f.path == path)
    return found


def stages(dockerfile: str) -> dict[str, str]:
    """What each stage holds, by its name; the last one has none."""
    parts = re.split(r"^FROM \S+(?: AS (\w+))?\n", dockerfile, flags=re.MULTILINE)
    return {name or "": part for name, part in zip(parts[1::2], parts[2::2], strict=True)}


def test_the_same_spec_gives_the_same_bytes() -> None:
    one, two = (render(spec(image=image(build=STAGE))) for _ in range(2))
    assert one == two
    assert [f.path for f in one.files] == [
        "Dockerfile",
        "environment.sh",
        "home.sh",
        "entrypoint.sh",
        "welcome.sh",
        "welcome.txt",
        "steps/apt-image.sh",
        "steps/apt-build.sh",
        "download/inputs.json",
        "download/sources.json",
        "download/download.py",
        "recipe/install.sh",
    ]


def test_a_simple_image_installs_files_without_network() -> None:
    dockerfile = text(render(spec()), "Dockerfile")
    assert list(stages(dockerfile)) == ["download", "sources", "system", ""]
    system, final = stages(dockerfile)["system"], stages(dockerfile)[""]
    assert "--mount=type=bind,from=sources,source=image/apt,target=/packages/apt" in system
    assert "--mount=type=bind,source=steps/apt-image.sh,target=/step.sh" in system
    assert "sh /recipe/install.sh" in final
    assert "target=/sources" not in dockerfile
    assert 'ENV GREETING="hello"\nENV PATH="/opt/app/bin:${PATH}"\n' in dockerfile
    assert dockerfile.endswith('\nENTRYPOINT ["/bin/sh", "/etc/imagefactory/entrypoint.sh"]\n')
    assert "\n\n\n" not in dockerfile
    download = stages(dockerfile)["download"]  # many images share the layer of what downloads
    assert 0 < download.index("apt-get install") < download.index("COPY download/")


@pytest.mark.parametrize("which", [image(), image(build=STAGE), everything()])
def test_only_the_stage_that_downloads_has_a_network(which: ImageDefinition) -> None:
    for name, content in stages(text(render(spec(image=which)), "Dockerfile")).items():
        instructions = re.findall(r"^(?:RUN|ADD) .*", content, re.MULTILINE)
        if name not in ("download", "sources"):
            assert all(line.startswith("RUN --network=none ") for line in instructions), name
        assert "apt-get" not in content or name == "download"


def test_a_build_stage_compiles_and_stays_behind() -> None:
    dockerfile = text(render(spec(image=image(build=STAGE))), "Dockerfile")
    assert list(stages(dockerfile)) == ["download", "sources", "system", "build", ""]
    sources, compiling, final = (stages(dockerfile)[name] for name in ("sources", "build", ""))
    assert f"ADD --chmod=644 --checksum=sha256:{ARCHIVE.sha256} {ARCHIVE.url} /sources/app/\n" in sources
    assert f"ADD --keep-git-dir=false {REPOSITORY.git}#{REPOSITORY.commit} /sources/library\n" in sources
    assert "--mount=type=bind,from=sources,source=build/apt,target=/packages/apt" in compiling
    assert "--mount=type=bind,from=sources,source=sources,target=/sources" in compiling
    assert "sh /recipe/install.sh" in compiling
    assert "install.sh" not in final
    assert "COPY --from=build /opt/app /opt/app\n" in final


def test_an_image_of_everything() -> None:
    context = render(spec(image=everything()))
    found = stages(text(context, "Dockerfile"))
    assert list(found) == ["download", "sources", "system", "pip", "conda", "build", ""]
    for copied in ("COPY --from=pip /opt/venv /opt/venv\n", "COPY --from=conda /opt/conda /opt/conda\n"):
        assert copied in found["build"]  # so that what compiles can use it
        assert copied in found[""]
    for kind in ("pip", "conda"):
        assert f"from=sources,source=image/{kind},target=/packages/{kind}" in found[kind]
        assert "from=sources,source=tools/pip,target=/tools/pip" in found[kind]
    assert "COPY environment.sh /etc/imagefactory/" in found["conda"]
    assert "COPY environment.sh home.sh entrypoint.sh welcome.sh gpu.sh /etc/imagefactory/" in found[""]
    assert "ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility\n" in found[""]
    assert {f.path for f in context.files} >= {
        *("gpu.sh", "steps/apt-image.sh", "steps/pip-image.sh", "steps/conda-image.sh", "steps/apt-build.sh"),
    }


def test_conda_s_installer_gets_a_python_that_the_image_does_not_get() -> None:
    found = stages(text(render(spec(image=image(inputs=Inputs(conda=CONDA)))), "Dockerfile"))
    assert "apt-tools.sh" in found["conda"]
    assert "apt" not in found["system"]
    assert "apt" not in found[""]


def test_an_image_may_need_nothing() -> None:
    bare = image(inputs=Inputs(), environment={}, path=(), summary="", maintainers=(Maintainer(name="M"),))
    context = render(spec(image=bare))
    dockerfile = text(context, "Dockerfile")
    assert list(stages(dockerfile)) == ["system", ""]
    assert not [f.path for f in context.files if f.path.startswith(("steps", "download", "gpu"))]
    assert "apt-get" not in dockerfile
    assert "NVIDIA" not in dockerfile
    assert "description" not in dockerfile
    assert 'authors="M"' in dockerfile
    assert text(context, "environment.sh").count("\n") == 3


def test_sources_alone_need_no_other_downloads() -> None:
    context = render(spec(image=image(inputs=Inputs(sources={"app": ARCHIVE}))))
    assert list(stages(text(context, "Dockerfile"))) == ["sources", "system", ""]
    assert "--mount=type=bind,from=sources,source=sources,target=/sources" in text(context, "Dockerfile")


def test_what_a_build_by_itself_downloads() -> None:
    found = json.loads(text(render(spec(image=everything())), "download/inputs.json"))
    ours = made_up_lock(everything())
    pinned = {file.sha256 for kind, file in ours.files() if kind != "sources"}
    of_base = {file.sha256 for file in base_lock().image.apt}
    assert {entry["sha256"] for entries in found.values() for entry in entries} == pinned | of_base
    assert {entry["sha256"] for entry in found["apt"] if entry.get("in_base")} == of_base
    torch = next(entry for entry in found["pip"] if entry["name"] == "torch")
    assert torch["index"] == "https://wheels.example.org/simple"
    assert torch["path"] == "image/pip/torch-2.1.0-py3-none-any.whl"
    assert [entry for entry in found["pip"] if "index" in entry] == [torch]
    assert {entry["path"] for entry in found["pip"] if entry["name"] in ("uv", "py-rattler")} == {
        "tools/pip/uv-0.28.0-py3-none-any.whl",
        "tools/pip/py_rattler-0.28.0-py3-none-any.whl",
    }
    (package,) = found["conda"]
    assert package["url"].endswith("/conda-forge/linux-64/fermitools-2.5.1-h0_1.conda")
    hello = next(entry for entry in found["apt"] if entry["name"] == "hello")
    assert (hello["archive"], hello["file"]) == ("debian", "pool/main/h/hello/hello_2.10-3_amd64.deb")


def test_the_files_that_a_step_names_are_those_that_are_staged() -> None:
    whole = spec(image=everything())
    conda = text(render(whole), "steps/conda-image.sh")
    pip = text(render(whole), "steps/pip-image.sh")
    for each in whole.lock.image.conda:
        assert f"\n{KINDS['conda'].stage(each).path.removeprefix('conda/')}\n" in conda
    for wheel in whole.lock.image.pip:
        assert f"\n{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n" in pip


def test_an_image_says_how_to_use_it() -> None:
    words = text(render(spec(image=image(citation=("A Paper, 2024", "Another")))), "welcome.txt")
    assert (
        words
        == """\
An application 1.0
Says hello.

Commands: hello

With Docker, in this folder (IMAGE is what you ran):
  docker run --rm -it --user "$(id -u):$(id -g)" --volume "$PWD:/work" --workdir /work IMAGE hello
On a cluster:
  apptainer exec FILE.sif hello
Without a command, both open a shell where there is a terminal.

Please cite: A Paper, 2024
             Another
Licence: MIT
Homepage: https://example.org/app
"""
    )
    assert "--gpus all" in text(render(spec(image=everything())), "welcome.txt")


def test_a_readme_is_in_the_image() -> None:
    words = "# Hello\n\n%post\n{{ not a value }}\n"
    rendered = render(spec(image=image(folder=folder(readme=words))))
    assert text(rendered, "README.md") == words
    assert "COPY welcome.txt README.md /etc/imagefactory/\n" in text(rendered, "Dockerfile")
    assert "/etc/imagefactory/README.md" in text(rendered, "welcome.txt")
    assert rendered.input_digest != render(spec()).input_digest


def test_folders_at_home_are_made_before_anything_runs() -> None:
    home = text(render(spec(image=everything())), "home.sh").splitlines()
    lines = text(render(spec(image=everything())), "entrypoint.sh").splitlines()
    made = [line for line in home if line.startswith("mkdir ")]
    assert made == [
        'mkdir -p "${HOME}"/.config/app 2>/dev/null || :',
        """mkdir -p "${HOME}"/'it'"'"'s mine' 2>/dev/null || :""",
    ]
    order = [f". /etc/imagefactory/{name}.sh" for name in ("home", "environment", "gpu")]
    assert [line for line in lines if line.startswith(". ")] == order
    assert lines[-1] == 'exec "$@"'
    assert "gpu.sh" not in text(render(spec()), "entrypoint.sh")


def test_the_gpu_check_holds_what_the_image_needs() -> None:
    script = text(render(spec(image=everything())), "gpu.sh")
    assert "for built in 7.5 8.0 9.0; do" in script
    assert 'if gpu_older "$driver" 525.60.13; then' in script
    assert "CUDA 12.4 needs 525.60.13 or newer" in script
    assert "7.5, 8.0, 9.0: take another GPU" in script


def test_stand_ins_are_on_the_label() -> None:
    ours = lock(image={"apt": (apt_file(stand_in=True), apt_file("gcc"), apt_file("make", stand_in=True))})
    assert 'io.imagefactory.stand-ins="hello, make"' in text(render(spec(lock=ours)), "Dockerfile")
    assert "stand-ins" not in text(render(spec()), "Dockerfile")


def test_home_is_left_to_the_entry_point() -> None:
    context = render(spec(image=image(environment={"CACHE": "${HOME}/it's", "PLAIN": "$HOME"})))
    assert "CACHE" not in text(context, "Dockerfile")
    assert 'ENV PLAIN="\\$HOME"\n' in text(context, "Dockerfile")
    lines = text(context, "environment.sh").splitlines()
    assert lines[-4:] == [
        """[ -n "${CACHE+set}" ] || CACHE="${HOME}"'/it'"'"'s\'""",
        "export CACHE",
        """[ -n "${PLAIN+set}" ] || PLAIN='$HOME'""",
        "export PLAIN",
    ]


def test_the_recipe_s_files_come_along() -> None:
    files = (file("a.txt"), file("sub/run.sh", mode=0o755))
    context = render(spec(image=image(folder=folder(files=files))))
    assert [(f.path, f.mode) for f in context.files if f.path.startswith("recipe/")] == [
        ("recipe/install.sh", 0o644),
        ("recipe/files/a.txt", 0o644),
        ("recipe/files/sub/run.sh", 0o755),
    ]


def test_the_image_carries_its_own_digest() -> None:
    context = render(spec())
    assert f'io.imagefactory.input-digest="{context.input_digest}"' in text(context, "Dockerfile")
    assert 'io.imagefactory.id="app"' in text(context, "Dockerfile")
    assert 'org.opencontainers.image.created="2023-11-14T22:13:20Z"' in text(context, "Dockerfile")


IMAGES: dict[str, dict[str, Any]] = {
    "id": {"id": "other"},
    "title": {"title": "Another"},
    "summary": {"summary": "Another."},
    "version": {"version": "1.1"},
    "homepage": {"homepage": "https://example.org/other"},
    "licence": {"licence": "GPL-3.0-or-later"},
    "maintainers": {"maintainers": (Maintainer(name="Another"),)},
    "apt": {"inputs": Inputs(apt=("hello", "cowsay"))},
    "sources": {"inputs": Inputs(apt=("hello",), sources={"app": ARCHIVE})},
    "source digest": {
        "inputs": Inputs(apt=("hello",), sources={"app": ARCHIVE.model_copy(update={"sha256": "0" * 64})})
    },
    "build": {"build": STAGE},
    "build keeps": {"build": STAGE.model_copy(update={"keep": ("/opt/other",)})},
    "pip": {"inputs": Inputs(apt=("hello",), pip=PIP)},
    "conda": {"inputs": Inputs(apt=("hello",), conda=CONDA)},
    "gpu": {"needs": Needs(gpu=GPU)},
    "driver": {"needs": Needs(gpu=GPU.model_copy(update={"driver": "600.1"}))},
    "home folders": {"home_folders": (".app",)},
    "environment": {"environment": {"GREETING": "bye"}},
    "path": {"path": ("/opt/other",)},
    "commands": {"commands": ("other",)},
    "citation": {"citation": ("A Paper, 2024",)},
    "install.sh": {"folder": folder(install=b"true\n")},
    "files": {"folder": folder(files=(file(),))},
    "file's mode": {"folder": folder(files=(file(mode=0o755),))},
    "file's bytes": {"folder": folder(files=(file(data=b"other"),))},
    "file's name": {"folder": folder(files=(file(path="other"),))},
    "revision": {"folder": folder(revision="other")},
}
SPECS: dict[str, dict[str, Any]] = {
    "base name": {"base": base_spec(base=definition(name="other"))},
    "published base": {"base": base_spec(base=definition(published="debian:12"))},
    "what is in the base": {"base": base_spec(lock=base_lock(image={"apt": (apt_file("dash"),)}))},
    "platform": {"base": base_spec(base=dataclasses.replace(definition(), platform="linux/arm64"))},
    "the base's date": {"base": base_spec(base=dataclasses.replace(definition(), epoch=1_800_000_000))},
    "the recipe's date": {"image": image(folder=folder(epoch=1_800_000_001))},
    "source": {"source": "https://example.org/fork"},
    "another version": {"lock": lock(image={"apt": (apt_file(version="2.11-1"),)})},
    "the same version, packed anew": {"lock": lock(image={"apt": (apt_file(sha256="1" * 64),)})},
    "a dependency": {"lock": lock(image={"apt": (apt_file(), apt_file("libc6"))})},
    "a file of another stage": {"lock": lock(build={"apt": (apt_file(),)})},
    "a stand-in": {"lock": lock(image={"apt": (apt_file(stand_in=True),)})},
}


def test_the_input_digest_changes_with_every_ingredient() -> None:
    specs = [spec(), *(spec(image=image(**change)) for change in IMAGES.values())]
    specs += [spec(**change) for change in SPECS.values()]
    digests = [render(each).input_digest for each in specs]
    assert len(set(digests)) == len(IMAGES) + len(SPECS) + 1


@pytest.mark.parametrize(
    "changes",
    [
        {"tests": (SmokeTest(name="other", command=("other",)),)},
        {"needs": Needs(memory="2 GiB", desktop=True, mpi=True)},  # type: ignore[arg-type]  # as recipes say
        {"terms": Terms(policy="private", note="for ourselves")},
        {
            "topics": ("astronomy",),
            "tasks": ("to say hello",),
            "keywords": ("hello",),
            "edam": ("topic_3444",),
        },
        {"gui_apps": (GuiApp(name="Hello", command="hello"),)},
        {"folder": folder(icons=(file(),))},
        {"waivers": (Waiver(test="no-secrets", path="opt/key", reason="an example"),)},
        {"folder": folder(tests=(file(),))},
    ],
)
def test_the_input_digest_ignores_what_is_not_in_the_image(changes: dict[str, Any]) -> None:
    assert render(spec(image=image(**changes))).input_digest == render(spec()).input_digest


def test_the_order_of_packages_is_no_ingredient() -> None:
    one = image(inputs=Inputs(apt=("a1", "b1")))
    other = dataclasses.replace(one, inputs=Inputs(apt=("b1", "a1")))
    assert render(spec(image=one)).input_digest == render(spec(image=other)).input_digest


def test_what_was_asked_for_is_no_ingredient_but_what_was_found() -> None:
    """A recipe that asks in other words for the same files makes the same image."""
    one = spec()
    asked = one.image.inputs.model_copy(update={"apt": ("hello", "libc6")})
    other = dataclasses.replace(one, image=dataclasses.replace(one.image, inputs=asked))
    assert render(one).input_digest == render(other).input_digest
    again = dataclasses.replace(one, lock=one.lock.model_copy(update={"request": "9" * 64}))
    assert render(one).input_digest == render(again).input_digest


@pytest.mark.parametrize(
    ("value", "dockerfile", "script"),
    [
        ("", '""', "''"),
        ("plain", '"plain"', "plain"),
        ('a "b" c', '"a \\"b\\" c"', "'a \"b\" c'"),
        ("$(x) `y` $z", '"\\$(x) `y` \\$z"', "'$(x) `y` $z'"),
        ("back\\", '"back\\\\"', "'back\\'"),
        ("it's", '"it\'s"', "'it'\"'\"'s'"),
        ("${HOME}/x", '"\\${HOME}/x"', '"${HOME}"/x'),
        ("${HOME", '"\\${HOME"', "'${HOME'"),
        ("{{ x }}", '"{{ x }}"', "'{{ x }}'"),
    ],
)
def test_values_are_quoted(value: str, dockerfile: str, script: str) -> None:
    assert quoted(value) == dockerfile
    assert shell_word(value) == script
