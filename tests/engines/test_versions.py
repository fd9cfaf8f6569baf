"""Versions of one application as tags of one name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.engines.bench import PREFIX, Bench, inspect

NAME = f"{PREFIX}-app"  # before the versions
VERSION_OF = {"new": "1.10", "old": "1.9"}


def write(bench: Bench, **of_old: object) -> str:
    variants = {
        "new": {"version": "1.10"},
        "old": {"version": "1.9", "environment": {"OLD": "1"}, **of_old},
    }
    return bench.recipe("versions", image=NAME, commands=["env"], variants=variants)


def digest(tag: str) -> str:
    return str(inspect(f"imagefactory/{NAME}:{tag}")["Id"])


@pytest.mark.long
def test_versions_of_an_application_stand_beside_each_other(bench: Bench, tmp_path: Path) -> None:
    recipe = write(bench)
    ended = bench.run("build", recipe, "--format", "containers")
    assert f"{recipe} means {recipe}-new, {recipe}-old" in ended.err
    reports = {variant: bench.report(f"{recipe}-{variant}") for variant in VERSION_OF}
    for variant, version in VERSION_OF.items():
        assert reports[variant]["reference"] == f"imagefactory/{NAME}:{version}"
        assert digest(version) == reports[variant]["digest"]
        file = bench.report(f"{recipe}-{variant}", "sif")["file"]
        assert re.fullmatch(rf"{NAME}-{re.escape(version)}-[0-9a-f]{{12}}\.sif", file)
    new = digest("1.10")
    assert digest("latest") == new

    told = bench.run("wrappers", recipe, "--to", str(tmp_path)).out
    assert f"module load {NAME}/1.10" in told
    for version in VERSION_OF.values():
        folder = tmp_path / NAME / version
        (sif,) = folder.glob("*.sif")
        assert sif.name.startswith(f"{NAME}-{version}-")
        assert (folder / "bin" / "env").readlink() == Path(f"{NAME}-exec")
        assert sif.name in (folder / "bin" / f"{NAME}-exec").read_text()
        assert f"conflict {NAME}\n" in (tmp_path / "modulefiles" / NAME / version).read_text()

    # What is built again moves its own tag alone.
    write(bench, environment={"OLD": "2"})
    old = digest("1.9")
    bench.run("build", recipe)
    assert digest("1.9") != old
    assert (digest("1.10"), digest("latest")) == (new, new)

    # What the name alone means is the recipe's to say, whatever was built last.
    assert "nothing changed" in bench.run("build", f"{recipe}-old").out
    write(bench, version="2.0")
    bench.run("build", f"{recipe}-old")
    assert digest("latest") == digest("2.0")
    write(bench)
    planned = bench.run("plan", f"{recipe}-new").out
    assert f"{recipe}-new: build, the engine no longer has it as imagefactory/{NAME}:latest" in planned
    bench.run("build", f"{recipe}-new")
    assert digest("latest") == new
