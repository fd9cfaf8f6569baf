"""Real, unmodified recipes whose upstreams cannot be reached, with stand-ins under the real addresses."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.engines.bench import REPOSITORY, Bench, docker, exists, images, inspect
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


def rehearse(bench: Bench, recipe: str, image: str, stand_ins: dict[str, object], *words: str) -> None:
    """Build one image of a recipe as it is kept, and see that nobody can take it for the true one."""
    target = bench.root / "recipes" / recipe
    shutil.copytree(REPOSITORY / "recipes" / recipe, target, ignore=shutil.ignore_patterns("lock.yaml"))
    (bench.root / "site.yaml").write_text(json.dumps({"stand_ins": stand_ins}))
    name = f"imagefactory/{image}:stand-in"
    before = images(f"imagefactory/{image}")
    assert name not in before, f"remove {name} first"
    (alone,) = [each["selector"] for each in bench.run("list", "--json").json() if each["id"] == image]
    try:
        bench.run("build", alone, "--format", "containers", *words, timeout=900)
        report = bench.report(image)
        assert report["reference"] == name
        assert set(images(f"imagefactory/{image}")) - {name} == set(before)
        assert report["stand_ins"]
        assert inspect(name)["Config"]["Labels"][LABEL] == ", ".join(report["stand_ins"])
        sif = bench.report(image, "sif")
        for tests in (report["tests"], sif["tests"]):
            status = {
                kind: {t["status"] for t in tests if t["kind"] == kind} for kind in ("smoke", "contract")
            }
            assert status == {"smoke": {"not-run"}, "contract": {"passed"}}
        assert sif["file"].startswith(f"{image}-stand-in-")
        reasons = {t["reason"] for t in report["tests"] if t["kind"] == "smoke"}
        assert all(
            reason.startswith("needs the true software, and this image holds stand-ins: ")
            for reason in reasons
        )
        refused = bench.run("wrappers", alone, "--to", "out", status=2)
        assert "nobody should take it for the software" in refused.errors[0]
        # Without the stand-ins their lock is not good: the true software is asked for again.
        (bench.root / "site.yaml").unlink()
        assert image in bench.run("lock", "--check", alone, status=1).out
    finally:
        docker("image", "rm", "--force", name, status=None)
    assert not exists(name)


def conda(upstream: Upstream, recipe: str) -> dict[str, object]:
    """Stand-ins for every channel that a recipe names."""
    content = yaml.safe_load((REPOSITORY / "recipes" / recipe / "recipe.yaml").read_text())
    found = [content, *content.get("variants", {}).values()]
    channels = {c for part in found for c in part.get("inputs", {}).get("conda", {}).get("channels", ())}
    assert channels
    places: dict[str, object] = {}
    for channel in channels:
        address = channel if "://" in channel else f"https://conda.anaconda.org/{channel}"
        name = "fsl" if "fsl" in channel else channel
        places[address.rstrip("/")] = {"url": f"{upstream.url}/{name}"}
    return places


def test_fermitools(bench: Bench, upstream: Upstream) -> None:
    rehearse(bench, "fermitools", "fermitools", conda(upstream, "fermitools"))
    locked = (bench.root / "recipes" / "fermitools" / "lock.yaml").read_text()
    assert "channel: fermi, " in locked
    assert "stand_in: true" in locked


@pytest.mark.parametrize("image", ["fsl", "fsl-core", pytest.param("fsl-desktop", marks=pytest.mark.long)])
def test_fsl_with_its_licence_accepted(bench: Bench, upstream: Upstream, image: str, tmp_path: Path) -> None:
    bench.environment = {"XDG_STATE_HOME": str(tmp_path / "state")}
    with pytest.raises(AssertionError, match=r"fsl: its licence is not accepted: https?://"):
        rehearse(bench, "fsl", image, conda(upstream, "fsl"))
    shutil.rmtree(bench.root / "recipes" / "fsl")
    rehearse(bench, "fsl", image, conda(upstream, "fsl"), "--accept-licence", "fsl")
    accepted = bench.report(image)["licence_accepted"]
    assert accepted["how"] == "--accept-licence"
    assert accepted["url"].startswith("https://")


def test_the_kmos_pipeline_from_a_kit(bench: Bench, upstream: Upstream) -> None:
    recipe = yaml.safe_load((REPOSITORY / "recipes" / "eso-vlt" / "recipe.yaml").read_text())
    kmos = recipe["variants"]["kmos"]
    url = kmos["build"]["inputs"]["sources"]["kit"]["url"]
    kit = url.rpartition("/")[2].removesuffix(".tar.gz")
    names = ["kmos_dark", "kmos_flat", "kmos_wave_cal", "kmos_sci_red"]
    file = make_kit(upstream.folder, kit, "kmos", names, kmos["version"])
    digest = subprocess.run(
        ["sha256sum", str(file)], capture_output=True, text=True, check=True
    ).stdout.split()[0]
    rehearse(
        bench, "eso-vlt", "eso-vlt-kmos", {url: {"url": f"{upstream.url}/{file.name}", "sha256": digest}}
    )


def test_spherls_from_a_repository(bench: Bench, upstream: Upstream) -> None:
    recipe = yaml.safe_load((REPOSITORY / "recipes" / "spherls" / "recipe.yaml").read_text())
    url = recipe["build"]["inputs"]["sources"]["spherls"]["git"]
    commit = make_repository(upstream.folder / "spherls.git", spherls_files())
    place = {"url": f"{upstream.url}/spherls.git", "commit": commit}
    rehearse(bench, "spherls", "spherls", {url: place})
