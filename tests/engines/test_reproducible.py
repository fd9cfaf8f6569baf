"""The same recipe gives the same image, whenever and wherever it is built."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from tests.engines.bench import PREFIX, REPOSITORY, Bench

RECIPE = f"{PREFIX}-eso-vlt"
MUSE = f"{RECIPE}-muse"


def copy_recipe(bench: Bench) -> None:
    """The real recipe under another name, for the engine may hold the real image."""
    folder = bench.root / "recipes" / RECIPE
    shutil.copytree(REPOSITORY / "recipes" / "eso-vlt", folder)
    file = folder / "recipe.yaml"
    text = file.read_text()
    assert "\nname: eso-vlt\n" in text
    file.write_text(text.replace("\nname: eso-vlt\n", f"\nname: {RECIPE}\n"))


def test_builds_without_cache_are_identical(make_bench: Callable[[str], Bench]) -> None:
    here, there = make_bench("here"), make_bench("another place, at a longer path")
    digests = set()
    for bench in (here, there):
        copy_recipe(bench)
        bench.run("build", MUSE, "--no-cache")
        steps = bench.steps(MUSE)
        assert not steps["install apt packages"]
        assert not steps["install.sh"]
        digests.add(bench.report(MUSE)["digest"])
    assert len(digests) == 1
    measures = {k: v for t in here.report(MUSE)["tests"] for k, v in t["measures"].items()}
    noise = [value for name, value in measures.items() if "read-out noise" in name]
    assert noise
    assert all(2.8 <= value <= 3.2 for value in noise), measures
