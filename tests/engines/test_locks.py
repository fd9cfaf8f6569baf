"""What lock writes, when it writes it again, and what it says about that."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from tests.engines.bench import Bench


def lock_of(bench: Bench, image: str) -> Path:
    return bench.folder(image) / "lock.yaml"


def locked(bench: Bench, image: str, kind: str = "apt") -> dict[str, dict[str, object]]:
    """The files that a lock holds of one kind, by name."""
    content = yaml.safe_load(lock_of(bench, image).read_text())
    return {row["name"]: row for row in content.get(kind, ())}


def test_a_lock_is_made_once_and_then_stays(bench: Bench) -> None:
    image = bench.recipe("stays", inputs={"apt": ["hello"]})
    assert bench.run("lock", "--check", image, status=1).out == f"{image}: its inputs are not locked yet\n"
    first = bench.run("lock", image)
    assert f"{image}\n  + hello 2." in first.out
    written = lock_of(bench, image).read_bytes()
    assert bench.run("lock", image).out.endswith(f"{image}: locked, nothing changed\n")
    assert bench.run("lock", "--upgrade", image).out.endswith(f"{image}\n  nothing is newer\n")
    assert lock_of(bench, image).read_bytes() == written
    assert bench.run("lock", "--check", image).out == "all locked\n"
    bench.assert_clean()


def test_every_package_is_pinned_with_its_dependencies_and_no_host(bench: Bench) -> None:
    image = bench.recipe("pinned", inputs={"apt": ["units"]})  # which needs a library that the base has not
    bench.run("lock", image)
    found = locked(bench, image)
    assert {"units", "libreadline8", "readline-common"} <= found.keys()
    for row in found.values():
        assert re.fullmatch(r"[0-9a-f]{64}", str(row["sha256"]))
        assert re.fullmatch(r"pool/\S+\.deb", str(row["file"]))
        assert row["used_by"] == [image]
        assert int(str(row["bytes"])) > 1000
    for file in (lock_of(bench, image), bench.root / "base_images" / "debian-12.lock.yaml"):
        assert not re.search(r"https?:|\.(org|com|net)\b", file.read_text())


def test_one_more_package_changes_only_what_it_brings(bench: Bench) -> None:
    image = bench.recipe("more", inputs={"apt": ["hello"]})
    bench.run("lock", image)
    before = lock_of(bench, image).read_text().splitlines()
    bench.recipe("more", inputs={"apt": ["hello", "bc"]})
    assert "changed since they were locked" in bench.run("lock", "--check", image, status=1).out
    ended = bench.run("lock", image)
    assert re.search(r"  \+ bc 1\.", ended.out)
    assert "hello" not in ended.out.replace(image, "")
    after = lock_of(bench, image).read_text().splitlines()
    assert [line for line in before if "name: hello," in line] == [
        line for line in after if "name: hello," in line
    ]
    # Without it again, the file is what it was.
    bench.recipe("more", inputs={"apt": ["hello"]})
    assert re.search(r"  - bc 1\.", bench.run("lock", image).out)
    assert lock_of(bench, image).read_text().splitlines() == before


def test_versions_that_fit_are_kept_and_upgrade_takes_the_newest(bench: Bench) -> None:
    image = bench.recipe("kept", inputs={"pip": {"packages": ["idna<3.7"]}})
    bench.run("lock", image)
    assert locked(bench, image, "pip")["idna"]["version"] == "3.6"
    bench.recipe("kept", inputs={"pip": {"packages": ["idna"]}})
    assert "the same files still fit; --upgrade asks for newer ones" in bench.run("lock", image).out
    assert locked(bench, image, "pip")["idna"]["version"] == "3.6"
    ended = bench.run("lock", "--upgrade", image)
    assert re.search(r"  idna 3\.6 → 3\.\d+", ended.out)


def test_stages_of_two_images_in_one_file(bench: Bench) -> None:
    image = bench.recipe(
        "stages",
        "touch /opt/x/y",
        inputs={"apt": ["hello"]},
        variants={"plain": {}, "built": {"build": {"inputs": {"apt": ["make"]}, "keep": ["/opt/x"]}}},
    )
    bench.run("lock", image)
    found = locked(bench, image)
    assert found["hello"]["used_by"] == [f"{image}-built", f"{image}-plain"]
    assert found["make"]["used_by"] == [f"{image}-built/build"]
    # Locking one again leaves the other as it is.
    before = lock_of(bench, image).read_bytes()
    bench.run("lock", "--upgrade", f"{image}-plain")
    assert lock_of(bench, image).read_bytes() == before


def test_locked_refuses_what_is_not(bench: Bench) -> None:
    image = bench.recipe("refused", inputs={"apt": ["hello"]})
    ended = bench.run("build", "--locked", image, status=2)
    assert ended.errors == [f"error: {image}: its inputs are not locked yet"]
    assert f"imagefactory lock {image}" in ended.err
    assert not lock_of(bench, image).exists()
    bench.run("lock", image)
    bench.run("build", "--locked", image)


def test_what_cannot_be_resolved_is_said(bench: Bench) -> None:
    image = bench.recipe("no-package", inputs={"apt": ["no-such-package-at-all"]})
    ended = bench.run("lock", image, status=1)
    assert ended.errors == [
        f"error: recipes/{image}: {image}: Debian has no package called no-such-package-at-all"
    ]
    assert not lock_of(bench, image).exists()
    image = bench.recipe("conflict", inputs={"apt": ["hello", "hello-traditional"]})
    ended = bench.run("lock", image, status=1)
    assert ended.errors == [f"error: recipes/{image}: {image}: apt cannot install these packages together"]
    assert re.search(r"\| .*hello\S* : (Conflicts|Breaks): hello", ended.err), ended.err
    image = bench.recipe("no-version", inputs={"pip": {"packages": ["idna==3.4", "idna==3.6"]}})
    ended = bench.run("lock", image, status=1)
    (line,) = ended.errors
    assert (
        line
        == f"error: recipes/{image}: {image}: Python packages: these Python packages cannot be had together"
    )
    assert "idna==3.4" in ended.err
    bench.assert_clean()


def test_an_edited_lock_is_read_as_strictly_as_a_recipe(bench: Bench) -> None:
    image = bench.recipe("edited", inputs={"apt": ["hello"]})
    bench.run("lock", image)
    file = lock_of(bench, image)
    file.write_text(re.sub(r"sha256: [0-9a-f]{64}", "sha256: abc", file.read_text(), count=1))
    ended = bench.run("build", image, status=2)
    assert re.search(rf"recipes/{image}/lock\.yaml:\d+:\d+: apt\[0\]\.sha256: expected a sha256", ended.err)
    assert f"imagefactory lock {image}" in ended.err
