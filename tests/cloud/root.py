"""The cloud's programs: Debian's packages in a folder of their own, so that nothing of this system changes.

The folder is made once, and kept. Nothing that runs writes to it: a run has a layer of its own above it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from filelock import FileLock

from tests.upstreams.openstack import CannotStart

SUITE = "bookworm"
"""The last release whose Neutron has the Linux bridge agent, which needs no other programs."""
PACKAGES = (
    *("mariadb-server-core", "mariadb-client-core", "rabbitmq-server", "python3-pymysql"),
    *("placement-api", "uwsgi-core", "uwsgi-plugin-python3"),
    *("nova-api", "nova-conductor", "nova-scheduler", "nova-compute", "genisoimage", "sudo"),
    *("libvirt-daemon", "libvirt-daemon-driver-qemu", "qemu-system-x86", "qemu-utils", "ovmf", "seabios"),
    *("neutron-server", "neutron-linuxbridge-agent", "neutron-dhcp-agent", "dnsmasq-base"),
    *("iproute2", "iptables", "ipset", "cinder-api", "cinder-scheduler", "cinder-volume", "nfs-common"),
)
# Maintainer scripts start nothing.
_HOOK = ('printf "#!/bin/sh\\nexit 101\\n" >"$1/usr/sbin/policy-rc.d"; chmod 755 "$1/usr/sbin/policy-rc.d"',)
_LEFT_OUT = ("doc", "man", "locale", "info")


def programs() -> Path:
    """The folder, made where it is not there yet: 2 GB, minutes. Raises CannotStart."""
    if shutil.which("mmdebstrap") is None:
        raise CannotStart("mmdebstrap is not installed: run ci/setup engines")
    key = hashlib.sha256("\n".join((SUITE, *PACKAGES, *_HOOK, *_LEFT_OUT)).encode()).hexdigest()[:12]
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "imagefactory-tests"
    home.mkdir(parents=True, exist_ok=True)
    folder = home / f"cloud-{key}"
    with FileLock(f"{folder}.lock"):
        if not (folder / "ready").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            _make(folder / "root")
            (folder / "ready").touch()
    return folder / "root"


def _make(root: Path) -> None:
    words = ["mmdebstrap", "--mode=root", "--variant=apt", "--format=directory"]
    words += ["--aptopt=Apt::Install-Recommends false", f"--include={','.join(PACKAGES)}"]
    words += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _LEFT_OUT]
    words += [f"--essential-hook={hook}" for hook in _HOOK]
    words += ['--customize-hook=rm -rf "$1"/var/cache/apt "$1"/var/lib/apt/lists', SUITE, str(root)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=3600)
    if done.returncode:
        raise CannotStart(f"the cloud's packages can't be installed: {done.stderr.strip()[-1000:]}")
