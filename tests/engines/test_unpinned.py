"""What is rendered without a lock builds by itself, of what upstreams have then, and its program runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.bench import Bench, docker, inspect
from tests.engines.cluster import apptainer, build_definition
from tests.upstreams.channel import Package, make_channel
from tests.upstreams.server import Upstream

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")  # this machine's, for a proxy may re-sign TLS
CA = ["--secret", f"id=ca,src={CERTIFICATES}"] if CERTIFICATES.is_file() else []
CA_OF_APPTAINER = {"SSL_CERT_FILE": str(CERTIFICATES)} if CERTIFICATES.is_file() else {}
GREETS = "#!/bin/sh\necho greeting 2.0 from $(dirname $0)\n"


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[Upstream]:
    """A conda channel with two releases of a program, and an archive."""
    releases = [
        Package("greeting", "1.0", files={"bin/greeting": GREETS.replace("2.0", "1.0")}),
        Package("greeting", "2.0", files={"bin/greeting": GREETS}),
    ]
    make_channel(tmp_path / "upstream" / "lab", releases)
    (tmp_path / "upstream" / "data.txt").write_text("from upstream\n")
    with Upstream(tmp_path / "upstream") as server:
        yield server


def render(bench: Bench, image: str, to: Path) -> Path:
    """Render what is not locked, and see that it says so; the folder."""
    ended = bench.run("render", image, "--to", str(to))
    assert f"{image}: its inputs are not locked yet: rendered without pinned versions" in ended.err
    assert f"lock {image} pins them" in ended.err
    return to / image


def build(context: Path, base: str, *words: str) -> str:
    """Build it as anybody would; the name of the image."""
    name = f"imagefactory/{context.name}-unpinned:1"
    docker(
        "buildx", "build", "--load", *CA, "--tag", name, "--build-arg", f"BASE={base}", *words, str(context)
    )
    return name


def test_debian_and_python_packages(bench: Bench, base_in_engine: str, tmp_path: Path) -> None:
    image = bench.recipe(
        "today-pip",
        inputs={"apt": ["hello"], "pip": {"packages": ["idna"], "constraints": ["idna<3.7"]}},
        path=["/opt/venv/bin"],
    )
    name = build(render(bench, image, tmp_path), base_in_engine)
    assert docker("run", "--rm", name, "hello") == "Hello, world!\n"
    version = "import idna, sys; print(idna.__version__, sys.prefix)"
    assert docker("run", "--rm", name, "python", "-c", version) == "3.6 /opt/venv\n"
    left = "command -v pip uv; ls -A /tmp; ls -A /var/lib/apt/lists"
    assert docker("run", "--rm", name, "sh", "-c", left) == ""
    # It carries nothing by which the factory would take it for its own.
    assert "io.imagefactory.input-digest" not in inspect(name)["Config"]["Labels"]
    assert bench.run("plan", image, "--json").json()[0]["input_digest"] is None


@pytest.mark.long
def test_conda_packages_and_a_source(
    bench: Bench, base_in_engine: str, base_as_file: list[str], upstream: Upstream, tmp_path: Path
) -> None:
    """With Docker, and with Apptainer of the same folder."""
    digest = hashlib.sha256(b"from upstream\n").hexdigest()
    image = bench.recipe(
        "today-conda",
        'mkdir -p /opt/app/bin\ncp /sources/data/data.txt "$DATA"\ngreeting >/opt/app/greeted',
        inputs={"conda": {"channels": [f"{upstream.url}/lab"], "packages": ["greeting >=1"]}},
        build={
            "inputs": {"sources": {"data": {"url": f"{upstream.url}/data.txt", "sha256": digest}}},
            "keep": ["/opt/app"],
        },
        environment={"DATA": "/opt/app/data"},
        path=["/opt/conda/bin"],
        commands=["greeting"],
    )
    context = render(bench, image, tmp_path)
    # The channel is at an address of this machine.
    name = build(context, base_in_engine, "--network=host", "--allow=network.host")
    command = ["sh", "-c", 'greeting; cat "$DATA" /opt/app/greeted']
    expected = "greeting 2.0 from /opt/conda/bin\nfrom upstream\ngreeting 2.0 from /opt/conda/bin\n"
    assert docker("run", "--rm", name, *command) == expected
    assert docker("run", "--rm", name, "sh", "-c", "ls -A /tmp; command -v python3; :") == ""
    sif = build_definition(context, image, tmp_path / "built.sif", base_as_file, CA_OF_APPTAINER)
    assert apptainer("exec", "--no-privs", str(sif), *command) == expected
    assert apptainer("exec", "--no-privs", str(sif), "sh", "-c", "ls -A /run/secrets 2>/dev/null; :") == ""


def test_a_lock_pins_it_again(bench: Bench, tmp_path: Path) -> None:
    """Only what is locked is built, or put into a bundle."""
    image = bench.recipe("today-locked", inputs={"apt": ["hello"]})
    context = render(bench, image, tmp_path)
    assert "VERSIONS ARE NOT PINNED" in (context / "Dockerfile").read_text()
    bench.run("render", image)
    ended = bench.run("build", "--locked", image, status=2)
    assert ended.errors == [f"error: {image}: its inputs are not locked yet"]
    bench.run("build", image)
    own = bench.build / image / "context"
    assert "NOT PINNED" not in (own / "Dockerfile").read_text()
    assert json.loads((own / "download" / "inputs.json").read_text())["apt"]
