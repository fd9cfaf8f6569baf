"""After a change: the factory says what changed, and does no more than it must."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.engines.bench import Bench, docker, exists, inspect

APT = {"inputs": {"apt": ["hello"]}, "commands": ["hello"]}


def build(bench: Bench, image: str, *words: str) -> dict[str, Any]:
    """Build, and return the result."""
    (result,) = bench.run("build", image, "--json", *words).json()
    found: dict[str, Any] = result
    return found


@pytest.mark.long
def test_an_edit_of_install_sh_builds_only_from_there(bench: Bench) -> None:
    image = bench.recipe("edit", "hello >/usr/share/greeting", **APT)
    assert build(bench, image)["reasons"] == ["it was never made here"]
    before = inspect(f"imagefactory/{image}")["Id"]
    script = bench.folder(image) / "install.sh"
    script.write_text(script.read_text() + "echo one more line\n")
    assert f"{image}: build, install.sh changed" in bench.run("plan", image).out
    result = build(bench, image)
    assert (result["action"], result["reasons"]) == ("build", ["install.sh changed"])
    steps = bench.steps(image)
    assert steps["install apt packages"] is True
    assert steps["install.sh"] is False
    assert "one more line" in bench.log(image)
    assert inspect(f"imagefactory/{image}")["Id"] != before
    assert not unnamed_images(image), "the image that was replaced stayed in the engine"


def test_an_edit_of_a_test_only_tests_again(bench: Bench) -> None:
    image = bench.recipe("retest")
    build(bench, image)
    before = bench.report(image)
    test = {"name": "other", "command": ["sh", "-c", "echo other"], "output": ["^other$"]}
    bench.recipe("retest", tests=[test])
    result = build(bench, image)
    assert (result["action"], result["reasons"]) == ("test", ["its tests changed"])
    after = bench.report(image)
    assert [t["name"] for t in after["tests"] if t["kind"] == "smoke"] == ["other"]
    assert (after["digest"], after["steps"]) == (before["digest"], before["steps"])
    assert build(bench, image)["action"] == "nothing"


def test_a_new_version_is_named(bench: Bench) -> None:
    image = bench.recipe("version")
    build(bench, image)
    bench.recipe("version", version="1.1")
    assert build(bench, image)["reasons"] == ["version 1.0 → 1.1"]
    assert exists(f"imagefactory/{image}:1.1")


def test_versions_that_no_tag_can_hold(bench: Bench) -> None:
    image = bench.recipe("odd", version="1.0~rc1+dfsg-2")
    build(bench, image)
    assert bench.report(image)["reference"] == f"imagefactory/{image}:1.0_rc1_dfsg-2"
    assert inspect(f"imagefactory/{image}")["Config"]["Labels"]["org.opencontainers.image.version"] == (
        "1.0~rc1+dfsg-2"
    )
    assert build(bench, image)["action"] == "nothing"


def test_a_base_image_that_moved_is_named(bench: Bench) -> None:
    image = bench.recipe("moved")
    build(bench, image)
    old = base_digest(bench)
    file = bench.root / "base_images" / "debian-12.yaml"
    file.write_text(file.read_text() + "packages: [hello]\n")
    reason = "base image debian-12 changed since it was locked"
    assert bench.run("plan", image).out.splitlines() == [
        *(f"{name}: build, {reason}" for name in ("debian-12", image, f"{image} (SIF)"))
    ]
    bench.run("lock", "debian-12", image)
    new = bench.run("plan", "debian-12", "--json").json()[0]["input_digest"]
    moved = f"base image debian-12 moved {old[:8]}… → {new[:8]}…"
    lines = bench.run("plan", image).out.splitlines()
    assert f"{image}: build, {moved}" in lines
    assert f"{image} (SIF): build, it was never made here" in lines
    (result,) = bench.run("build", image, "--json").json()
    assert (result["action"], result["reasons"]) == ("build", [moved])
    assert docker("run", "--rm", f"imagefactory/{image}", "hello") == "Hello, world!\n"
    without_base_image(bench, image)


def without_base_image(bench: Bench, image: str) -> None:
    """An image can be tested without its base image, but for what its layers hold."""
    remove_base(bench)
    bench.run("test", image)
    not_run = {t["name"]: t["reason"] for t in bench.report(image)["tests"] if t["status"] == "not-run"}
    assert set(not_run) == {"no-secrets", "no-leftovers", "no-new-setuid"}
    assert set(not_run.values()) == {f"the base image that it was built on is gone: build {image} again"}


def base_digest(bench: Bench) -> str:
    """The input digest of the base image, as its report tells."""
    digest: str = bench.report("debian-12", "base")["input_digest"]
    return digest


def remove_base(bench: Bench) -> None:
    """Take the base image away."""
    folder: Path = bench.build / "debian-12"
    folder.rename(bench.root / f"was-{len(list(bench.root.iterdir()))}")


def unnamed_images(image: str) -> list[str]:
    """Images of ``image`` that no name leads to."""
    label = f"label=io.imagefactory.id={image}"
    return docker("image", "ls", "-q", "--filter", "dangling=true", "--filter", label).split()
