"""Images of every kind of input on every base image: the rest of the tests use one of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from imagefactory.definitions.bases import base_names, load_base
from imagefactory.system.workspace import Workspace
from tests.conftest import REPOSITORY
from tests.engines.bench import Bench, docker
from tests.upstreams.channel import Package, make_channel
from tests.upstreams.server import Upstream

WORKSPACE = Workspace(REPOSITORY)
BASES = [name for name in base_names(WORKSPACE) if name != "debian-12"]
CODENAME = ". /etc/os-release; echo $VERSION_CODENAME"
GREETS = "#!/bin/sh\necho greeting 1.0\n"
PYTHON = ("python", "-c", "import idna; print(idna.__version__)")


# The last in every run, and the others where there is time.
@pytest.mark.parametrize(
    "base", [*(pytest.param(name, marks=pytest.mark.long) for name in BASES[:-1]), BASES[-1]]
)
def test_images_of_every_kind_keep_the_contract(bench: Bench, base: str, tmp_path: Path) -> None:
    shutil.copy(WORKSPACE.bases / f"{base}.yaml", bench.root / "base_images")
    bench.run("lock", base, timeout=300)
    channel = tmp_path / "upstream" / "lab"
    make_channel(channel, [Package("greeting", "1.0", files={"bin/greeting": GREETS})])
    with Upstream(channel.parent) as upstream:
        conda = {"channels": [f"{upstream.url}/lab"], "packages": ["greeting"]}
        images = [
            bench.recipe(
                f"{base.replace('.', '-')}-{kind}", base=base, inputs={kind: asked}, path=path, tests=tests
            )
            for kind, asked, path, tests in (
                ("apt", ["hello"], [], says("Hello, world!", "hello")),
                ("pip", {"packages": ["idna==3.6"]}, ["/opt/venv/bin"], says("3.6", *PYTHON)),
                ("conda", conda, ["/opt/conda/bin"], says("greeting 1.0", "greeting")),
            )
        ]
        bench.run("build", *images, "--format", "oci", timeout=600)
        # How a SIF file is made and run depends on no kind of input.
        bench.run("build", images[0], "--format", "sif", timeout=600)
    for image, kind in (*((image, "oci") for image in images), (images[0], "sif")):
        tests = {test["name"]: test["status"] for test in bench.report(image, kind)["tests"]}
        assert set(tests.values()) == {"passed"}
        assert len(tests) > 2
    codename = docker("run", "--rm", bench.report(images[0])["reference"], "sh", "-c", CODENAME)
    assert codename.strip() == load_base(WORKSPACE, base).base.suite


def says(words: str, *command: str) -> list[dict[str, object]]:
    """A smoke test that a command prints one line."""
    return [{"name": "says", "command": list(command), "output": [f"^{words}$"]}]
