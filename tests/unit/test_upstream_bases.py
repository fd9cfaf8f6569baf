"""Base images that are taken from a registry: their locks, their digests, and what is rendered on them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from imagefactory.inputs.pip_lock import python_of
from imagefactory.inputs.protocol import Origin, Wanted
from imagefactory.locks import base_request, changes, read_locks, write_locks
from imagefactory.locks.upstreams import upstreams
from imagefactory.model.lock import BlobFile, HeldPackage, Lock, System
from imagefactory.model.recipe import BaseImage, Release, VersionFrom
from imagefactory.model.spec import BaseDefinition, BaseSpec, release_of
from imagefactory.plan.versions import locked_version
from imagefactory.system.workspace import Workspace
from tests.unit.samples import base_lock, base_spec, definition, image, lock, rendered, sha256, spec, target

REFERENCE = f"docker.io/nvidia/cuda:12.4.1@sha256:{sha256('index')}"
HELD = {"libc6": "2.35-0ubuntu3.8", "python3": "3.10.6-1~22.04.1", "units": "2.21-1build1"}


def upstream(**changes: Any) -> BaseDefinition:
    whole = {"name": "cuda-12.4", "title": "CUDA 12.4", "from": REFERENCE}
    return BaseDefinition(BaseImage(**{**whole, **changes}), "linux/amd64", 1_700_000_000)


def blob(name: str, content: str = "") -> BlobFile:
    digest = sha256(content or name)
    place = "blobs" if name.startswith(("config", "layer")) else "manifests"
    return BlobFile(
        name=name,
        version=f"sha256:{digest[:12]}",
        file=f"{place}/sha256:{digest}",
        bytes=100,
        sha256=digest,
    )


def upstream_lock(held: dict[str, str] = HELD, **contents: str) -> Lock:
    packages = tuple(HeldPackage(name=name, version=version) for name, version in held.items())
    names = ("config", "index", "layer 01", "layer 02", "manifest")
    return lock(
        image={"blobs": tuple(blob(name, contents.get(name.replace(" ", "_"), "")) for name in names)},
        system=System(distribution="ubuntu", suite="jammy", packages=packages),
    )


SPEC = BaseSpec(upstream(), upstream_lock())


def test_a_lock_of_an_upstream_image_is_written_and_read(tmp_path: Path) -> None:
    file, workspace = tmp_path / "cuda-12.4.lock.yaml", Workspace(tmp_path)
    ours = upstream_lock()
    assert write_locks(file, {"cuda-12.4": ours}, "linux/amd64")
    text = file.read_text()
    assert "platform: linux/amd64, request: " in text
    assert ", distribution: ubuntu, suite: jammy}\n" in text
    assert "  - {name: libc6, version: 2.35-0ubuntu3.8, used_by: [cuda-12.4]}\n" in text
    assert f"file: 'blobs/sha256:{sha256('layer 01')}', bytes: 100" in text.replace('"', "'")
    read = read_locks(workspace, file, "linux/amd64")["cuda-12.4"]
    assert (read, read.digest) == (ours, ours.digest)
    assert not write_locks(file, {"cuda-12.4": read}, "linux/amd64")
    assert [kind for kind, _ in read.files()] == ["blobs"] * 5


def test_what_makes_the_lock_of_an_upstream_image_stale() -> None:
    asked = base_request(upstream())
    assert base_request(upstream(title="Another")) == asked
    assert base_request(upstream(**{"from": REFERENCE.replace("12.4.1", "12.4")})) != asked
    assert base_request(dataclasses.replace(upstream(), platform="linux/arm64")) != asked
    assert base_request(definition()) != asked


def test_what_a_newer_image_changes_is_told() -> None:
    newer = upstream_lock({**HELD, "units": "2.22-1"}, layer_02="newer", manifest="newest")
    of = {text: f"sha256:{sha256(text)[:12]}" for text in ("layer 02", "newer", "manifest", "newest")}
    assert [str(change) for change in changes(upstream_lock(), newer)] == [
        f"layer 02 {of['layer 02']} → {of['newer']}",
        f"manifest {of['manifest']} → {of['newest']}",
        "units 2.21-1build1 → 2.22-1",
    ]


def test_its_release_and_packages_are_its_own() -> None:
    assert SPEC.release == release_of(SPEC.base, SPEC.lock) == Release("ubuntu", "jammy")
    assert base_spec().release == Release("debian", "bookworm")
    assert SPEC.lock.system_packages == HELD
    assert base_lock().system_packages["libc6"] == "2.36-9+deb12u10"
    assert Origin(SPEC.base, base_lock=SPEC.lock).release == Release("ubuntu", "jammy")
    source = VersionFrom.model_validate({"from": "apt:units"})
    assert locked_version(source, lock(), SPEC.lock) == "2.21"


def test_python_packages_are_for_the_python_that_it_has() -> None:
    wanted = Wanted(image(), SPEC.base, SPEC.lock, None, lambda files, relay: {}, {})
    found = python_of(wanted)
    assert (found.python, found.glibc) == ((3, 10), (2, 35))


def test_elsewhere_it_is_pulled_by_its_digest() -> None:
    """Apptainer takes a tag or a digest."""
    assert upstream().published == f"docker.io/nvidia/cuda@sha256:{sha256('index')}"
    local = f"localhost:5000/a/b@sha256:{sha256('index')}"
    assert upstream(**{"from": local}).published == local


def test_images_on_it_begin_as_root_and_make_room_for_their_user() -> None:
    text = rendered(spec(base=SPEC, image=image(base="cuda-12.4")))[0].data.decode()
    assert f"ARG BASE={SPEC.published}\n" in text
    assert "FROM ${BASE} AS download\n# hadolint ignore=DL3002\nUSER 0:0\n" in text
    assert "FROM ${BASE} AS system\n# hadolint ignore=DL3002\nUSER 0:0\n" in text
    assert 'userdel --remove "$name"' in text
    assert text.index("userdel") < text.index("useradd --uid 1000")
    plain = rendered()[0].data.decode()
    assert "USER 0:0" not in plain
    assert "userdel" not in plain
    assert (
        "USER 0:0"
        not in rendered(spec(base=base_spec(base=definition(distribution="ubuntu"))))[0].data.decode()
    )


@pytest.mark.parametrize(
    "other",
    [
        BaseSpec(upstream(**{"from": REFERENCE.replace("docker.io", "mirror.example.org")}), SPEC.lock),
        BaseSpec(SPEC.base, upstream_lock(layer_02="another")),
    ],
)
def test_another_image_is_another_base(other: BaseSpec) -> None:
    assert target("base", other).input_digest != target("base", SPEC).input_digest


def test_what_decides_an_upstream_base_is_told() -> None:
    made = target("base", SPEC)
    assert made.ingredients["from"] == REFERENCE
    assert made.ingredients["apt packages"] == HELD
    assert not {"distribution", "suite", "published"} & set(made.ingredients)
    assert "from" not in target("base").ingredients


def test_what_is_not_locked_waits_for_its_registry() -> None:
    assert upstreams(image(), upstream().base) == ("registry docker.io",)
    assert upstreams(image(), definition().base) == upstreams(image()) == ()
