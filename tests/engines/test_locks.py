"""What lock writes, when it writes it again, and what it says about that."""

from __future__ import annotations

import re
import subprocess
import tarfile
from pathlib import Path

import yaml

from tests.engines.bench import Bench
from tests.upstreams.repository import make_repository
from tests.upstreams.server import Upstream


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
    image = bench.recipe(
        "no-version",
        inputs={"pip": {"packages": ["attrs"], "constraints": ["idna==3.6"]}},
        variants={"old": {"inputs": {"pip": {"packages": ["idna==3.4"]}}}},
    )
    ended = bench.run("lock", image, status=1)
    (line,) = ended.errors
    assert line == (
        f"error: recipes/{image}: {image}-old: Python packages: these Python packages cannot be had together"
    )
    place = rf"  → recipes/{image}/recipe\.yaml:\d+:\d+ asks for"
    assert re.search(rf"^{place} idna==3\.4, in the variant old$", ended.err, re.MULTILINE), ended.err
    assert re.search(rf"^{place} idna==3\.6$", ended.err, re.MULTILINE)
    assert "asks for attrs" not in ended.err
    bench.assert_clean()


def test_an_edited_lock_is_read_as_strictly_as_a_recipe(bench: Bench) -> None:
    image = bench.recipe("edited", inputs={"apt": ["hello"]})
    bench.run("lock", image)
    file = lock_of(bench, image)
    file.write_text(re.sub(r"sha256: [0-9a-f]{64}", "sha256: abc", file.read_text(), count=1))
    ended = bench.run("build", image, status=2)
    assert re.search(rf"recipes/{image}/lock\.yaml:\d+:\d+: apt\[0\]\.sha256: expected a sha256", ended.err)
    assert f"imagefactory lock {image}" in ended.err


def test_a_commit_is_locked_unseen_and_whoever_fetches_it_notes_its_sha256(
    bench: Bench, tmp_path: Path
) -> None:
    commit = make_repository(tmp_path / "served" / "data.git", {"data": "from upstream\n"})
    with Upstream(tmp_path / "served") as server:
        source = {"git": f"{server.url}/data.git", "commit": commit}
        install = "cp /sources/data/data /usr/share/data"
        image = bench.recipe("commit", install, inputs={"sources": {"data": source}})
        bench.run("lock", image)
        assert not server.requests
        commit_all(bench)
        planned = bench.run("plan", image, "--json").json()
        ended = bench.run("build", "--locked", image)
        noted = f"noted in recipes/{image}/fetched.yaml, to be committed: sha256 of commit {commit[:12]}"
        assert noted in ended.err
        # Neither the lock nor the image has changed by it, and nobody needs upstream again.
        assert git(bench, "status", "--porcelain").split() == ["??", f"recipes/{image}/fetched.yaml"]
        assert bench.report(image)["input_digest"] in [each["input_digest"] for each in planned]
        asked = len(server.requests)
        for _ in range(2):
            again = bench.run("build", image)
            assert f"{image}: nothing to do, nothing changed since it was made and tested" in again.out
            commit_all(bench)
        bench.run("build", "--no-cache", image)
        assert len(server.requests) == asked
        # A noted sha256 that the tree has not is a failure, not a new note.
        file = bench.folder(image) / "fetched.yaml"
        (row,) = yaml.safe_load(file.read_text())["sources"]
        assert row["commit"] == commit
        bench.run("bundle", image, "--to", str(tmp_path / "bundle.tar"))
        with tarfile.open(tmp_path / "bundle.tar") as bundle:
            assert {f"recipes/{image}/fetched.yaml", f"store/{row['sha256']}"} <= set(bundle.getnames())
        file.write_text(file.read_text().replace(row["sha256"], "0" * 64))
        ended = bench.run("fetch", image, status=1)
        assert (
            f"the tree of commit {commit} has sha256 {row['sha256']}, and {'0' * 64} was noted" in ended.text
        )


def git(bench: Bench, *words: str) -> str:
    who = ("-c", "user.name=Nobody", "-c", "user.email=nobody@example.org")
    argv = ["git", "-C", str(bench.root), *who, *words]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def commit_all(bench: Bench) -> None:
    (bench.root / ".gitignore").write_text("build/\n")
    git(bench, "init", "--quiet")
    git(bench, "add", "--all")
    git(bench, "commit", "--quiet", "--allow-empty", "--message=all")
