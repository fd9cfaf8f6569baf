"""Real, unmodified recipes whose upstreams cannot be reached, with stand-ins under the real addresses."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engines.bench import REPOSITORY, Bench, docker, images, inspect
from tests.upstreams.channel import (
    conda_forge_stand_ins,
    fermi_stand_ins,
    fsl_stand_ins,
    make_channel,
)
from tests.upstreams.kit import make_kit
from tests.upstreams.repository import make_repository, spherls_files
from tests.upstreams.server import Upstream

LABEL = "io.imagefactory.stand-ins"
IMAGES = {
    "fsl": "fsl-default",
    "fsl-core": "fsl-core",
    "fermitools": "fermitools-default",
    "spherls": "spherls",
    "eso-vlt-kmos": "eso-vlt-kmos",
}
"""What is built, and the word for it alone."""


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    """conda channels, a kit and a repository, under one address."""
    folder = tmp_path_factory.mktemp("upstreams")
    for name, packages in (
        ("fermi", fermi_stand_ins()),
        ("conda-forge", conda_forge_stand_ins()),
        ("fsl", fsl_stand_ins()),
    ):
        make_channel(folder / name, packages)
    with Upstream(folder) as server:
        yield server


@pytest.fixture(scope="module")
def stand_ins(upstream: Upstream) -> dict[str, object]:
    """What stands in for the software of each recipe, as a site says it."""
    kmos, recipe = (_recipe(name) for name in ("eso-vlt", "spherls"))
    url = kmos["variants"]["kmos"]["build"]["inputs"]["sources"]["kit"]["url"]
    kit = url.rpartition("/")[2].removesuffix(".tar.gz")
    names = ["kmos_dark", "kmos_flat", "kmos_wave_cal", "kmos_sci_red"]
    file = make_kit(upstream.folder, kit, "kmos", names, kmos["variants"]["kmos"]["version"])
    commit = make_repository(upstream.folder / "spherls.git", spherls_files())
    return {
        **conda(upstream, "fermitools"),
        **conda(upstream, "fsl"),
        url: {"url": f"{upstream.url}/{file.name}", "sha256": hashlib.sha256(file.read_bytes()).hexdigest()},
        recipe["build"]["inputs"]["sources"]["spherls"]["git"]: {
            "url": f"{upstream.url}/spherls.git",
            "commit": commit,
        },
    }


@pytest.fixture(scope="module")
def rehearsed(module_bench: Bench, stand_ins: dict[str, object]) -> Iterator[Bench]:
    """A checkout in which images of the recipes, as they are kept, were built in one command."""
    bench = module_bench
    for recipe in ("eso-vlt", "fermitools", "fsl", "spherls"):
        copy_recipe(bench, recipe)
    (bench.root / "site.yaml").write_text(json.dumps({"stand_ins": stand_ins}))
    before = {image: images(f"imagefactory/{image}") for image in IMAGES}
    for image in IMAGES:
        assert name_of(image) not in before[image], f"remove {name_of(image)} first"
    try:
        bench.run("build", *IMAGES.values(), "--format", "containers", "--accept-licence", "fsl", timeout=900)
        for image in IMAGES:
            assert set(images(f"imagefactory/{image}")) - {name_of(image)} == set(before[image])
        yield bench
    finally:
        for image in IMAGES:
            docker("image", "rm", "--force", name_of(image), status=None)


def copy_recipe(bench: Bench, recipe: str) -> None:
    """Copy a recipe, without what it locked."""
    target = bench.root / "recipes" / recipe
    shutil.copytree(REPOSITORY / "recipes" / recipe, target, ignore=shutil.ignore_patterns("lock.yaml"))


def name_of(image: str) -> str:
    """The name that an image of stand-ins has in the engine."""
    return f"imagefactory/{image}:stand-in"


def _recipe(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((REPOSITORY / "recipes" / name / "recipe.yaml").read_text())
    return content


def conda(upstream: Upstream, recipe: str) -> dict[str, object]:
    """Stand-ins for every channel that a recipe names."""
    content = _recipe(recipe)
    found = [content, *content.get("variants", {}).values()]
    channels = {c for part in found for c in part.get("inputs", {}).get("conda", {}).get("channels", ())}
    assert channels
    places: dict[str, object] = {}
    for channel in channels:
        address = channel if "://" in channel else f"https://conda.anaconda.org/{channel}"
        name = "fsl" if "fsl" in channel else channel
        places[address.rstrip("/")] = {"url": f"{upstream.url}/{name}"}
    return places


def keeps_to_the_contract(bench: Bench, image: str) -> None:
    """It has passed the contract, and nobody can take it for the true software."""
    report, sif = bench.report(image), bench.report(image, "sif")
    assert report["reference"] == name_of(image)
    assert report["stand_ins"]
    assert inspect(name_of(image))["Config"]["Labels"][LABEL] == ", ".join(report["stand_ins"])
    for tests in (report["tests"], sif["tests"]):
        status = {kind: {t["status"] for t in tests if t["kind"] == kind} for kind in ("smoke", "contract")}
        assert status == {"smoke": {"not-run"}, "contract": {"passed"}}
    assert sif["file"].startswith(f"{image}-stand-in-")
    reasons = {t["reason"] for t in report["tests"] if t["kind"] == "smoke"}
    start = "needs the true software, and this image holds stand-ins: "
    assert all(reason.startswith(start) for reason in reasons)


@pytest.mark.parametrize("image", IMAGES)
def test_it_is_built_as_it_is_kept(rehearsed: Bench, image: str) -> None:
    keeps_to_the_contract(rehearsed, image)
    refused = rehearsed.run("wrappers", IMAGES[image], "--to", "out", status=2)
    assert "nobody should take it for the software" in refused.errors[0]


def test_a_lock_says_what_stands_in(rehearsed: Bench) -> None:
    locked = (rehearsed.root / "recipes" / "fermitools" / "lock.yaml").read_text()
    assert "channel: fermi, " in locked
    assert "stand_in: true" in locked


def test_that_a_licence_was_accepted_is_kept(rehearsed: Bench) -> None:
    for image in ("fsl", "fsl-core"):
        accepted = rehearsed.report(image)["licence_accepted"]
        assert accepted["how"] == "--accept-licence"
        assert accepted["url"].startswith("https://")


def test_a_licence_has_to_be_accepted(bench: Bench, stand_ins: dict[str, object], tmp_path: Path) -> None:
    bench.environment = {"XDG_STATE_HOME": str(tmp_path / "state")}
    copy_recipe(bench, "fsl")
    (bench.root / "site.yaml").write_text(json.dumps({"stand_ins": stand_ins}))
    refused = bench.run("build", "fsl-core", status=None)
    assert refused.status
    assert re.search(r"fsl: its licence is not accepted: https?://", refused.text)


def test_without_stand_ins_the_true_software_is_asked_for_again(rehearsed: Bench) -> None:
    site = rehearsed.root / "site.yaml"
    kept = site.read_text()
    site.unlink()
    try:
        told = rehearsed.run("lock", "--check", *IMAGES.values(), status=1).out
    finally:
        site.write_text(kept)
    for image in IMAGES:
        assert image in told


@pytest.mark.long
def test_a_desktop_of_stand_ins(bench: Bench, stand_ins: dict[str, object], tmp_path: Path) -> None:
    copy_recipe(bench, "fsl")
    (bench.root / "site.yaml").write_text(json.dumps({"stand_ins": stand_ins}))
    try:
        words = ["--format", "containers", "--accept-licence", "fsl"]
        bench.run("build", "fsl-desktop", *words, timeout=900)
        keeps_to_the_contract(bench, "fsl-desktop")
    finally:
        docker("image", "rm", "--force", name_of("fsl-desktop"), status=None)
