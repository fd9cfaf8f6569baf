"""Every application whose inputs all come from package registries: built, and its science done."""

from __future__ import annotations

import os
from typing import Any

import pytest
import yaml

from imagefactory.inputs.index import client_default
from tests.engines.bench import REPOSITORY, Bench, docker

_ESO = yaml.safe_load((REPOSITORY / "recipes" / "eso-vlt" / "recipe.yaml").read_text())
PACKAGED = [
    "eso-vlt" if name == "default" else f"eso-vlt-{name}"
    for name, variant in _ESO["variants"].items()
    if "build" not in variant
]
Reports = tuple[dict[str, Any], dict[str, Any]]
CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def build(bench: Bench, image: str, status: int = 0, **environment: str) -> Reports:
    """Build one image; its name must not hide one that the user has."""
    name = f"imagefactory/{image}"
    tag = f"{name}:zz-kept-{os.getpid()}"
    had = docker("image", "ls", "-q", f"{name}:latest").split()
    if had:
        docker("tag", f"{name}:latest", tag)
    try:
        alone = "eso-vlt-default" if image == "eso-vlt" else image
        bench.run("build", alone, "--format", "containers", status=status, timeout=7200, **environment)
        return bench.report(image), bench.report(image, "sif")
    finally:
        version = bench.report(image)["version"] if bench.report_file(image).exists() else "latest"
        docker("image", "rm", "--force", f"{name}:{version}", f"{name}:latest", status=None)
        if had:
            docker("tag", tag, f"{name}:latest")
            docker("tag", tag, f"{name}:{version}")
            docker("image", "rm", tag)


def test_there_are_eight_pipelines_and_all_in_one() -> None:
    assert len(PACKAGED) == 9


@pytest.mark.parametrize("image", PACKAGED)
def test_a_pipeline_that_debian_packages(kept: Bench, image: str) -> None:
    report, sif = build(kept, image)
    smoke = {test["name"]: test["status"] for test in report["tests"] if test["kind"] == "smoke"}
    assert len(smoke) >= 4
    assert set(smoke.values()) == {"passed"}
    assert {test["status"] for test in sif["tests"]} == {"passed"}


@pytest.mark.timeout(9000)
def test_deeplabcut_on_the_processor(kept: Bench) -> None:
    """Where PyTorch's own index is out of reach, the usual one serves CUDA builds under its address: then
    every test passes but the one that looks for a build without CUDA.
    """
    environment, expected = {}, {}
    if not os.environ.get("IMAGEFACTORY_TEST_PYTORCH_INDEX"):
        environment["IMAGEFACTORY_MIRRORS"] = f"{CPU_INDEX}={client_default()}"
        expected = {"cpu-build": "failed"}
    report, _ = build(kept, "deeplabcut-cpu", status=1 if expected else 0, **environment)
    wrong = {test["name"]: test["status"] for test in report["tests"] if test["status"] != "passed"}
    assert wrong == expected
