"""Base images that are taken from a registry: locked, built on, and built on without the registry."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.engines.bench import Bench, docker
from tests.upstreams.registry import Registry, push_index, push_layout

# What images of registries may have: a user, a program that starts, an account with the id of ours.
SOMEBODY_S = """\
FROM base
RUN useradd --uid 1000 --create-home somebody && touch /somebody-was-here
ENV LAB=ours
ENTRYPOINT ["/bin/false"]
USER 1000
WORKDIR /home/somebody
"""
OUTPUTS = {"gzip": "oci-mediatypes=false", "zstd": "compression=zstd,force-compression=true"}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("registry")
    with Registry(folder) as server:
        server.tokens = True
        yield server


@pytest.fixture(scope="module")
def pushed(registry: Registry, first: Bench, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """References of images, by how their layers are compressed."""
    context = tmp_path_factory.mktemp("context")
    (context / "Dockerfile").write_text(SOMEBODY_S)
    base = first.build / "debian-12" / "layout"
    digest = json.loads((base / "index.json").read_text())["manifests"][0]["digest"]
    references = {}
    for name, options in OUTPUTS.items():
        layout = tmp_path_factory.mktemp("layout") / name
        words = [
            "docker",
            "buildx",
            "build",
            "--provenance=false",
            "--output",
            f"type=oci,dest={layout},tar=false,{options}",
        ]
        words += ["--build-context", f"base=oci-layout://{base}@{digest}", str(context)]
        subprocess.run(words, check=True, capture_output=True)
        made = push_layout(layout, registry.folder, f"lab/{name}")
        index = push_index(
            registry.folder, f"lab/{name}", {"linux/arm64": f"sha256:{'0' * 64}", "linux/amd64": made}
        )
        references[name] = f"{registry.host}/lab/{name}:1.0@{index}"
    return references


def write_base(bench: Bench, name: str, reference: str) -> None:
    document = {"name": name, "title": "Somebody's image", "from": reference}
    (bench.root / "base_images" / f"{name}.yaml").write_text(json.dumps(document, indent=2))


def locked(bench: Bench, name: str) -> str:
    return (bench.root / "base_images" / f"{name}.lock.yaml").read_text()


@pytest.mark.parametrize("compressed", OUTPUTS)
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
        inputs={"apt": ["hello"]},
        tests=[
            {"name": "says", "command": ["hello"], "output": ["^Hello, world!$"]},
            {
                "name": "is-on-it",
                "command": ["sh", "-c", "ls /somebody-was-here; echo $LAB; getent passwd 1000"],
                "output": ["^ours$", "^user:"],
            },
        ],
    )
    bench.run("build", image, "--format", "all", timeout=600)
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
    bench.run("build", base, image, "--no-cache", "--format", "all", timeout=600)
    assert (registry.requests, bench.report(image)["digest"]) == ([], digest)
    assert f"{base}: nothing" in bench.run("plan", base).out
