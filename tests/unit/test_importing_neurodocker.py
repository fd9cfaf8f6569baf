"""Specifications and command lines of neurodocker."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagefactory.errors import BadFiles
from imagefactory.importing import DONE, NOT, PART, read_foreign
from tests.unit.imports import Brought, Make, bring

Import = Callable[..., Brought]

WORDS = """\
#!/bin/sh
docker run --rm repronim/neurodocker:1.0 generate docker \\
    --pkg-manager apt --base-image debian:bookworm-slim \\
    --arg DEBIAN_FRONTEND=noninteractive MODE=fast \\
    --install opts="--quiet" a1 b2 \\
    --ants version=2.4.3 method=binaries \\
    --miniconda version=latest env_name=mine conda_install="numpy=1.26 -c conda-forge" \\
        pip_install="nipype==1.8.6" \\
    --run 'mkdir /data && chmod 777 /data' \\
    --run-bash="[[ -d /data ]] && ls /opt/miniconda-latest" \\
    --env A=b PATH=/opt/x/bin:\\$PATH \\
    --copy one.txt folder /opt/there/ \\
    --user neuro --workdir /work \\
    --entrypoint /opt/x/bin/start \\
  > Dockerfile
docker build .
"""


@pytest.fixture
def imported(workspace: Make, tmp_path: Path) -> Import:
    return lambda text, **options: bring(workspace, tmp_path / "their", text, **options)


def test_a_command_line(imported: Import) -> None:
    beside = {"one.txt": b"1\n", "folder/two.txt": b"2\n"}
    found = imported(WORDS, file="generate.sh", beside=beside, name="")
    image = found.image
    assert image.id == "generate"
    assert image.inputs.apt == ("a1", "b2")
    assert image.inputs.conda is not None
    assert image.inputs.conda.packages == ("python", "numpy=1.26")
    assert image.inputs.pip is not None
    assert image.inputs.pip.packages == ("nipype==1.8.6",)
    assert image.environment == {"A": "b"}
    assert image.path[0] == "/opt/x/bin"
    assert image.commands == ("start",)
    assert {file.path for file in image.folder.files} == {"one.txt", "folder/two.txt"}
    assert "export MODE=fast\n" in found.script
    assert "mkdir /data\nchmod 777 /data\n" in found.script
    assert "bash -e -c '[[ -d /data ]]\nls /opt/conda'\n" in found.script
    assert "cp -R /recipe/files/one.txt /opt/there/\n" in found.script
    assert "cp -R /recipe/files/folder/. /opt/there/\n" in found.script
    assert "mkdir -p /work\ncd /work\n" in found.script
    assert found.outcomes("template ants") == [NOT]
    assert found.outcomes("from") == [DONE]
    assert "line 6" in {remark.place for remark in found.imported.remarks}


def spec(*instructions: Any, **more: Any) -> str:
    return json.dumps({"pkg_manager": "apt", "instructions": [*instructions], **more})


def test_json(imported: Import) -> None:
    text = spec(
        {"name": "from_", "kwds": {"base_image": "debian:12"}},
        {"name": "_default", "kwds": {}},
        {"name": "env", "kwds": {"A": "b"}},
        {"name": "install", "kwds": {"pkgs": ["a1"], "opts": None}},
        {"name": "run", "kwds": {"command": "make \\\n&& make install"}},
        {"name": "copy", "kwds": {"source": ["a", "there"], "destination": "/opt/"}},
        {"name": "label", "kwds": {"version": "3.1"}},
        {"name": "volume", "kwds": {"": ["/data"]}},
        {"name": "entrypoint", "kwds": {"args": ["/neurodocker/startup.sh"]}},
        7,
        existing_users=["root"],
    )
    found = imported(text, file="spec.json", beside={"there": b"1"})
    assert found.image.version == "3.1"
    assert found.image.environment == {"A": "b"}
    assert "make\nmake install\n" in found.script
    assert "copy a /opt/: it is not there" in found.script
    assert found.outcomes("copy") == [PART]
    assert found.outcomes("volume") == [NOT]
    assert "# volume (instruction 8): an image of ours has no volumes" in found.recipe


def test_the_older_form(imported: Import) -> None:
    text = spec(
        ["base", "debian:12"],
        ["install", ["a1"]],
        ["env", [["A", "b"]]],
        ["miniconda", {"conda_install": ["numpy", "scipy"]}],
        ["workdir", "/h"],
        ["run", "make"],
    )
    found = imported(text, file="spec.json")
    assert found.image.inputs.apt == ("a1",)
    assert found.image.environment == {"A": "b"}
    assert found.image.inputs.conda is not None
    assert found.image.inputs.conda.packages == ("python", "numpy", "scipy")
    assert "cd /h\n\n# run, instruction 6\nmake\n" in found.script


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("a.json", '{"instructions": [\n 1,, 2]}', ":2:4: not JSON"),
        ("a.json", '{"instructions": 1}', ":1:1: there is no list of 'instructions'"),
        ("a.json", '{"instructions": []}', ":1:1: its list of 'instructions' is empty"),
        ("a.txt", "neurodocker generate docker\n", ":1:1: there is no 'neurodocker generate docker' with"),
        ("a.txt", "neurodocker generate docker \\\n --run 'a\n", "is not closed"),
    ],
)
def test_what_is_none(tmp_path: Path, name: str, text: str, place: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(BadFiles) as error:
        read_foreign(tmp_path / name)
    assert place in str(error.value)
