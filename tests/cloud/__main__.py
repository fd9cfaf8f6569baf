"""Try a project image in a real OpenStack cloud on this machine. Run it with: make test-cloud

It installs and starts the cloud (Keystone, Glance, Nova with libvirt and QEMU, Placement, Neutron, Cinder) in
a network of its own that nothing else reaches, has servers started from the image, and takes everything
away again. docs/how-to/try-images-in-a-cloud.md has more.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from filelock import FileLock, Timeout

from imagefactory.guest import accelerator
from imagefactory.system.processes import Stop
from tests.cloud.apart import python, run_apart
from tests.cloud.root import programs
from tests.cloud.sample import REPOSITORY, write_sample
from tests.cloud.tried import build
from tests.engines import kit_tools
from tests.upstreams import openstack

_NEEDED = ("unshare", "mmdebstrap", "packer", "qemu-img", "ssh", "ip")
_ROOM = 12 << 30  # bytes of disk for servers, images and programs


def main(words: list[str]) -> int:
    """Do it; the exit status."""
    parser = argparse.ArgumentParser(prog="make test-cloud", description=__doc__)
    parser.add_argument("name", nargs="?", help="an image of this checkout [one that counts lines]")
    parser.add_argument("--shell", action="store_true", help="upload the image, then open a shell there")
    asked = parser.parse_args(words)
    home = REPOSITORY / "build" / "cloud"
    home.mkdir(parents=True, exist_ok=True)
    if missing := _missing(home):
        sys.stderr.write(f"test-cloud: {missing}\n")
        return 3
    try:
        with FileLock(home / "lock", timeout=0):
            return _run(home, asked.name, asked.shell)
    except Timeout:
        sys.stderr.write("test-cloud: another one is running in this checkout\n")
        return 1
    except openstack.CannotStart as error:
        sys.stderr.write(f"test-cloud: {error}\n")
        return 3


def _missing(home: Path) -> str:
    if os.geteuid():
        return "this takes root: it has a network, mounts and virtual machines of its own"
    for program in _NEEDED:
        if shutil.which(program) is None:
            return f"{program} is not installed: run ci/setup and ci/setup vm"
    free = shutil.disk_usage(home).free
    return "" if free > _ROOM else f"{home} has {free >> 30} GiB free, and this takes {_ROOM >> 30}"


def _run(home: Path, name: str | None, shell: bool) -> int:
    _say("programs: the cloud's, and the tools'")
    packages = programs()
    openstack.installed()
    tools = {
        "openstack": kit_tools.installed("openstack", kit_tools.OPENSTACK),
        "ansible": kit_tools.installed("ansible", kit_tools.ANSIBLE),
    }
    work = home / "run"  # what a killed one left goes
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(mode=0o700)
    try:
        root = REPOSITORY if name else home / "checkout"
        tried = build(root, name or write_sample(root), work)
        (work / "probe").mkdir()
        found = accelerator(tried.disk, root / "build", work / "probe", Stop())
        _say(f"servers run under {found.name}: {found.why}")
        order = {
            "folder": str(work / "cloud"),
            "report": str(home / "report.json"),
            "packages": str(packages),
            "programs": {each: str(place) for each, place in tools.items()},
            "tried": tried.as_json(),
            "virtualization": "kvm" if found.name == "kvm" else "qemu",
            "shell": shell,
        }
        (work / "cloud").mkdir()
        (work / "order.json").write_text(json.dumps(order))
        status = run_apart(python("tests.cloud.inside", str(work / "order.json")), terminal=shell)
        if status:
            _keep_logs(work, home / "log")
        return status
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _keep_logs(work: Path, to: Path) -> None:
    """What may tell why it failed. No password of a run opens anything after it."""
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir(mode=0o700)
    for file in [*work.glob("cloud/services/log/*.log"), *work.glob("cloud/identity/*.log")]:
        shutil.copy(file, to)
    for file in work.glob("cloud/packer-*/packer.log"):
        shutil.copy(file, to / f"{file.parent.name}.log")
    _say(f"its logs are in {to.relative_to(REPOSITORY)}")


def _say(line: str) -> None:
    sys.stdout.write(f"test-cloud: {line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.chdir(REPOSITORY)
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.stderr.write("test-cloud: interrupted; what was started is gone\n")
        sys.exit(130)
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"test-cloud: {error}\n")
        sys.exit(1)
