"""An image spec to the files of its build: pure, complete, and the same every time."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from imagefactory.backends.docker.render import quoted, render
from imagefactory.model.environment import shell_word
from imagefactory.model.recipe import Inputs, Maintainer, Needs, SmokeTest
from imagefactory.model.spec import BuildContext
from tests.unit.samples import ARCHIVE, REPOSITORY, STAGE, base, file, folder, image, spec


def text(context: BuildContext, path: str) -> str:
    (found,) = (f.data.decode() for f in context.files if f.path == path)
    return found


def test_the_same_spec_gives_the_same_bytes() -> None:
    one, two = (render(spec(image=image(build=STAGE))) for _ in range(2))
    assert one == two
    assert [f.path for f in one.files] == [
        "Dockerfile",
        "environment.sh",
        "entrypoint.sh",
        "recipe/install.sh",
    ]


def test_a_simple_image_has_one_stage() -> None:
    dockerfile = text(render(spec()), "Dockerfile")
    assert dockerfile.count("\nFROM ") == 1
    assert "apt-get install --yes --no-install-recommends \\\n        hello \\\n" in dockerfile
    assert "RUN --network=none" in dockerfile
    assert "target=/sources" not in dockerfile
    assert 'ENV GREETING="hello"\nENV PATH="/opt/app/bin:${PATH}"\n' in dockerfile
    assert dockerfile.endswith('\nCMD ["/bin/bash"]\n')
    assert "\n\n\n" not in dockerfile


def test_a_build_stage_and_sources_make_three_stages() -> None:
    dockerfile = text(render(spec(image=image(build=STAGE))), "Dockerfile")
    stages = [line for line in dockerfile.splitlines() if line.startswith("FROM ")]
    assert stages == ["FROM scratch AS sources", "FROM ${BASE} AS build", "FROM ${BASE}"]
    compiling, final = dockerfile.split("FROM ${BASE}\n")
    assert f"ADD --checksum=sha256:{ARCHIVE.sha256} {ARCHIVE.url} /app/\n" in compiling
    assert f"ADD --keep-git-dir=false {REPOSITORY.git}#{REPOSITORY.commit} /library\n" in compiling
    assert "        gcc \\\n        hello \\\n        make \\\n" in compiling
    assert "--mount=type=bind,from=sources,target=/sources" in compiling
    assert "gcc" not in final
    assert "install.sh" not in final
    assert "COPY --from=build /opt/app /opt/app\n" in final


def test_an_image_may_need_nothing() -> None:
    bare = image(inputs=Inputs(), environment={}, path=(), summary="", maintainers=(Maintainer(name="M"),))
    dockerfile = text(render(spec(image=bare)), "Dockerfile")
    assert "apt-get" not in dockerfile
    assert "description" not in dockerfile
    assert 'authors="M"' in dockerfile
    assert text(render(spec(image=bare)), "environment.sh").count("\n") == 3


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
    assert [(f.path, f.mode) for f in context.files][3:] == [
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
    "build keeps": {"build": STAGE.model_copy(update={"keep": ("/opt",)})},
    "environment": {"environment": {"GREETING": "bye"}},
    "path": {"path": ("/opt/other",)},
    "install.sh": {"folder": folder(install=b"true\n")},
    "files": {"folder": folder(files=(file(),))},
    "file's mode": {"folder": folder(files=(file(mode=0o755),))},
    "file's bytes": {"folder": folder(files=(file(data=b"other"),))},
    "file's name": {"folder": folder(files=(file(path="other"),))},
    "revision": {"folder": folder(revision="other")},
}
SPECS: dict[str, dict[str, Any]] = {
    "base digest": {"base": base(digest="sha256:other")},
    "base name": {"base": base(name="other")},
    "published base": {"base": base(published="other")},
    "platform": {"platform": "linux/arm64"},
    "epoch": {"epoch": 1},
    "source": {"source": "https://example.org/fork"},
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
        {"commands": ("other",)},
        {"needs": Needs(gpu=True)},
        {"citation": ("A Paper, 2024",)},
        {"folder": folder(tests=(file(),))},
    ],
)
def test_the_input_digest_ignores_what_is_not_in_the_image(changes: dict[str, Any]) -> None:
    assert render(spec(image=image(**changes))).input_digest == render(spec()).input_digest


def test_where_the_base_lies_is_no_ingredient() -> None:
    assert render(spec(base=base(layout="elsewhere"))) == render(spec())


def test_the_order_of_packages_is_no_ingredient() -> None:
    one = image(inputs=Inputs(apt=("a1", "b1")))
    other = dataclasses.replace(one, inputs=Inputs(apt=("b1", "a1")))
    assert render(spec(image=one)).input_digest == render(spec(image=other)).input_digest


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
