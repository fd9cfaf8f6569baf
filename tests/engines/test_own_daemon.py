"""What needs a Docker daemon that may break: one of our own, in its own namespaces, on a small disk."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from imagefactory.targets.common.engine import Engine
from imagefactory.targets.common.layouts import manifest_of
from tests.engines.bench import NAP, Bench, docker, running, wait_for

pytestmark = pytest.mark.skipif(
    os.getuid() != 0 or shutil.which("dockerd") is None, reason="only root can start a daemon of its own"
)
# What is on it comes and goes, with other tests.
BRIDGE = ("network", "inspect", "bridge", "--format", "{{.ID}} {{json .IPAM}} {{json .Options}}")
BUILDING = f"{NAP}4"
TESTING = f"{NAP}5"


@dataclass
class Daemon:
    """A daemon: ``process`` is the unshare that started it, and everything ends with it."""

    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def host(self) -> str:
        return f"unix://{self.folder}/socket"

    def kill(self) -> None:
        """End it at once, with all that runs in it."""
        self.process.kill()
        self.process.wait()

    def answers(self) -> bool:
        done = subprocess.run(["docker", "-H", self.host, "info"], capture_output=True, timeout=60)
        return done.returncode == 0


@pytest.fixture
def disk_size(request: pytest.FixtureRequest) -> str:
    """How large the daemon's disk is."""
    return str(getattr(request, "param", "2g"))


@pytest.fixture
def daemon(engines: None, disk_size: str) -> Iterator[Daemon]:
    """Its processes, mounts and network are in namespaces that vanish with it."""
    folder = Path(tempfile.mkdtemp(prefix="zz-"))  # short, for a socket's path has at most 107 bytes
    (folder / "daemon.json").write_text('{"features": {"containerd-snapshotter": true}}')
    (folder / "start.sh").write_text(
        "mount -t tmpfs none /run\n"
        "mkdir /run/data\n"
        f"mount -t tmpfs -o size={disk_size} none /run/data\n"
        "exec dockerd --config-file $1/daemon.json --data-root /run/data "
        "--exec-root /run/docker --pidfile /run/docker.pid --host unix://$1/socket\n"
    )
    before = docker(*BRIDGE)
    words = ["unshare", "--net", "--pid", "--mount", "--mount-proc", "--fork", "--kill-child"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*words, "sh", str(folder / "start.sh"), str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    started = Daemon(folder, process)
    try:
        wait_for(started.answers, 60, lambda: (folder / "log").read_text()[-3000:])
        yield started
    finally:
        started.kill()
        shutil.rmtree(folder)
    assert docker(*BRIDGE) == before, "it disturbed the machine's own daemon"


@pytest.mark.parametrize("moment", ["build", pytest.param("test", marks=pytest.mark.long)])
def test_a_killed_daemon(bench: Bench, daemon: Daemon, moment: str) -> None:
    if moment == "build":
        image, words = bench.recipe("gone-build", BUILDING), BUILDING
    else:
        test = {"name": "slow", "command": TESTING.split(), "time_limit": 300}
        image, words = bench.recipe("gone-test", tests=[test]), TESTING
    process = bench.start("build", image, DOCKER_HOST=daemon.host)
    wait_for(lambda: running(words))
    daemon.kill()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 3, err
    assert "Traceback" not in err
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert "the Docker Engine" in line
    assert "answer" in line
    bench.assert_clean()
    bench.run("build", bench.recipe("elsewhere"))


@pytest.mark.parametrize("disk_size", ["420m"], indirect=True)
def test_a_full_disk_in_the_daemon(bench: Bench, daemon: Daemon) -> None:
    image = bench.recipe("full-daemon", "head -c 400000000 /dev/urandom >/opt/noise")
    ended = bench.run("build", image, status=1, DOCKER_HOST=daemon.host)
    assert ended.errors == [f"error: {image}: no space is left where the image is built"], ended.text
    assert "docker system df" in ended.err
    bench.assert_clean()
    # The image can be built there, but not be unpacked a second time for its tests.
    other = bench.recipe("full-load", "head -c 100000000 /dev/urandom >/opt/noise")
    ended = bench.run("build", other, status=1, DOCKER_HOST=daemon.host)
    (line,) = ended.errors
    assert "no space is left" in line or "disk is full" in line, ended.text
    assert not [name for name in images_of(daemon) if "candidate" in name]


def test_an_engine_without_layers_of_the_base_image_takes_them(
    first: Bench, daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are left out of what it is sent only because it has them, in most cases."""
    monkeypatch.setenv("DOCKER_HOST", daemon.host)
    name, layout = "imagefactory/zz-base:1", tmp_path / "layout"
    shutil.copytree(first.build / "debian-12" / "layout", layout)
    index = json.loads((layout / "index.json").read_text())
    index["manifests"][0]["annotations"] = {"io.containerd.image.name": f"docker.io/{name}"}
    (layout / "index.json").write_text(json.dumps(index))
    digest, manifest = manifest_of(layout)
    facts = Engine("zz").load(layout, name, [layer["digest"] for layer in manifest["layers"]])
    assert facts["Id"] == digest
    words = ["docker", "-H", daemon.host, "run", "--rm", "--network=none", name, "cat", "/etc/hostname"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def images_of(daemon: Daemon) -> list[str]:
    found = subprocess.run(
        ["docker", "-H", daemon.host, "image", "ls", "--format", "{{.Repository}}:{{.Tag}}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    return found.stdout.split()
