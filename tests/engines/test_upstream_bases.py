"""Base images that are taken from a registry: locked, built on, and built on without the registry."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imagefactory.definitions.bases import host_platform
from tests.engines.bench import Bench, docker
from tests.upstreams.registry import Registry, push_index, push_layout

CUT = ("unshare", "--net", "--") if os.getuid() == 0 else ()
# What images of registries may have: a user, a program that starts, an account with the id of ours.
SOMEBODY_S = """\
FROM base
RUN useradd --uid 1000 --create-home somebody && touch /somebody-was-here
ENV LAB=ours
ENTRYPOINT ["/bin/false"]
USER 1000
WORKDIR /home/somebody
"""
IMAGES = {
    "gzip": (SOMEBODY_S, "oci-mediatypes=false"),  # as Docker pushes it
    "zstd": (SOMEBODY_S, "compression=zstd,force-compression=true"),
    "newer": (SOMEBODY_S + "ENV LAB=theirs\n", "compression=gzip"),
    "no-apt": ("FROM base\nRUN rm /usr/bin/apt-get /usr/bin/find\n", "compression=gzip"),
    "no-shell": ("FROM scratch\nCOPY --from=base /etc/os-release /etc/\n", "compression=gzip"),
}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("registry")
    with Registry(folder) as server:
        server.tokens = True
        yield server


@pytest.fixture(scope="module")
def pushed(registry: Registry, first: Bench, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """References of the images."""
    # Another test looks for processes that name the checkout.
    base = tmp_path_factory.mktemp("pushed") / "base"
    shutil.copytree(first.build / "debian-12" / "layout", base)
    digest = json.loads((base / "index.json").read_text())["manifests"][0]["digest"]
    references = {}
    for name, (text, options) in IMAGES.items():
        folder = tmp_path_factory.mktemp(name)
        (folder / "Dockerfile").write_text(text)
        output = f"type=oci,dest={folder / 'layout'},tar=false,{options}"
        words = ["docker", "buildx", "build", "--provenance=false", "--output", output]
        words += ["--build-context", f"base=oci-layout://{base}@{digest}", str(folder)]
        subprocess.run(words, check=True, capture_output=True)
        made = push_layout(folder / "layout", registry.folder, f"lab/{name}")
        platforms = {"linux/arm64": f"sha256:{'0' * 64}", host_platform(): made}
        index = push_index(registry.folder, f"lab/{name}", platforms)
        references[name] = f"{registry.host}/lab/{name}:1.0@{index}"
    return references


def write_base(bench: Bench, name: str, reference: str) -> None:
    document = {"name": name, "title": "Somebody's image", "from": reference}
    (bench.root / "base_images" / f"{name}.yaml").write_text(json.dumps(document, indent=2))


def locked(bench: Bench, name: str) -> str:
    return (bench.root / "base_images" / f"{name}.lock.yaml").read_text()


@pytest.mark.parametrize("compressed", [pytest.param("gzip", marks=pytest.mark.long), "zstd"])
def test_images_on_an_upstream_image(
    bench: Bench, registry: Registry, pushed: dict[str, str], compressed: str
) -> None:
    base, reference = f"somebody-{compressed}", pushed[compressed]
    write_base(bench, base, reference)
    out = bench.run("lock", base, timeout=300).out
    assert "+ libc6 2.36-9" in out
    assert reference.rpartition("@")[2].removeprefix("sha256:") in locked(bench, base)
    image = bench.recipe(
        base,
        base=base,
        inputs={"apt": ["hello"], "pip": {"packages": ["idna==3.6"]}},
        path=["/opt/venv/bin"],
        tests=[
            {"name": "imports", "command": ["python", "-c", "import idna"]},
            {"name": "says", "command": ["hello"], "output": ["^Hello, world!$"]},
            {
                "name": "is-on-it",
                "command": ["sh", "-c", "ls /somebody-was-here; echo $LAB; getent passwd 1000"],
                "output": ["^ours$", "^user:"],
            },
        ],
    )
    bench.run("build", image, "--format", "containers", timeout=600)
    for kind in ("oci", "sif"):
        tests = {test["name"]: test["status"] for test in bench.report(image, kind)["tests"]}
        assert set(tests.values()) == {"passed"}
    manifest = bench.report(base, "base")["digest"]
    assert manifest.removeprefix("sha256:") in locked(bench, base)
    labels = json.loads(docker("image", "inspect", bench.report(image)["reference"]))[0]["Config"]["Labels"]
    assert labels["org.opencontainers.image.base.digest"] == manifest
    # Nothing of it is asked for again.
    digest = bench.report(image)["digest"]
    registry.requests.clear()
    shutil.rmtree(bench.build / base)
    bench.as_user = CUT
    bench.run("build", base, image, "--no-cache", "--format", "containers", timeout=600)
    assert (registry.requests, bench.report(image)["digest"]) == ([], digest)
    assert bench.run("plan", base).out.startswith(f"{base}: up to date")


@pytest.mark.long
def test_a_newer_image_is_another_base(bench: Bench, pushed: dict[str, str]) -> None:
    write_base(bench, "lab", pushed["gzip"])
    image = bench.recipe("moves", base="lab")
    bench.run("build", image, timeout=600)
    old = bench.report("lab", "base")["input_digest"]
    shown = bench.run("show", "lab").out
    assert pushed["gzip"] in shown.replace("\n", "").replace(" ", "")
    write_base(bench, "lab", pushed["newer"])
    reason = "base image lab changed since it was locked"
    assert bench.run("plan", image).out.splitlines()[:2] == [
        f"{name}: build, {reason}" for name in ("lab", image)
    ]
    told = bench.run("lock", "lab", image).out
    assert re.search(r"config sha256:\w{12} → sha256:\w{12}", told)
    assert "libc6" not in told
    new = bench.run("plan", "lab", "--json").json()[0]["input_digest"]
    moved = f"{image}: build, base image lab moved {old[:8]}… → {new[:8]}…"
    assert moved in bench.run("plan", image).out.splitlines()
    bench.run("build", image, timeout=600)
    assert (
        docker("run", "--rm", bench.report(image)["reference"], "sh", "-c", "echo $LAB").strip() == "theirs"
    )


def test_a_bundle_holds_the_upstream_image(
    bench: Bench, registry: Registry, pushed: dict[str, str], tmp_path: Path
) -> None:
    write_base(bench, "lab", pushed["zstd"])
    image = bench.recipe("carried", base="lab", inputs={"apt": ["hello"]})
    bench.run("build", image, timeout=600)
    file = tmp_path / "carried.bundle.tar"
    bench.run("bundle", image, "--to", str(file))
    registry.requests.clear()
    elsewhere: dict[str, Any] = {"IMAGEFACTORY_STORE": str(tmp_path / "empty")}
    bench.run("unbundle", str(file), "--to", str(tmp_path / "there"), **elsewhere)
    there = Bench(tmp_path / "there", as_user=CUT)
    there.run("build", image, timeout=600, **elsewhere)
    assert there.report(image)["digest"] == bench.report(image)["digest"]
    assert registry.requests == []
    there.assert_clean()


def test_a_damaged_layer_gets_nowhere(
    bench: Bench, registry: Registry, pushed: dict[str, str], tmp_path: Path
) -> None:
    elsewhere: dict[str, Any] = {"IMAGEFACTORY_STORE": str(tmp_path / "store")}
    write_base(bench, "lab", pushed["newer"])
    blobs = registry.folder / "v2" / "lab" / "newer" / "blobs"
    layer = max(blobs.iterdir(), key=lambda file: file.stat().st_size)
    registry.replace(f"/v2/lab/newer/blobs/{layer.name}", b"x" * layer.stat().st_size, "application/gzip")
    for command in ("lock", "build"):
        (error,) = bench.run(command, "lab", status=1, **elsewhere).errors
        assert f"expected {layer.name.replace(':', ' ')}, found " in error
    assert not (bench.root / "base_images" / "lab.lock.yaml").exists()
    registry.heal()
    bench.run("build", "lab", **elsewhere)
    # What is damaged in the store is found before anything is made of it.
    sha256 = layer.name.removeprefix("sha256:")
    stored = tmp_path / "store" / "sha256" / sha256[:2] / sha256
    content = bytearray(stored.read_bytes())
    content[-1] ^= 0xFF
    stored.unlink()
    stored.write_bytes(content)
    (error,) = bench.run("build", "lab", "--no-cache", status=1, **elsewhere).errors
    assert "of the upstream image is damaged" in error
    bench.run("store", "verify", status=1, **elsewhere)
    assert "fetched 1 files" in bench.run("fetch", "lab", **elsewhere).out


@pytest.mark.parametrize(
    ("name", "said"), [("no-apt", "it lacks apt-get, find"), ("no-shell", "it has no shell")]
)
def test_what_nothing_can_be_built_on(bench: Bench, pushed: dict[str, str], name: str, said: str) -> None:
    write_base(bench, "lab", pushed[name])
    ended = bench.run("lock", "lab", status=1)
    assert ended.errors == [f"error: base_images/lab: {pushed[name]}: no image can be built on it: {said}"]
    assert "choose an image of Debian or Ubuntu that has apt" in ended.err
    assert not (bench.root / "base_images" / "lab.lock.yaml").exists()
