"""The cloud's programs as processes: started, waited for, and ended again.

They run in the folder of Debian's packages (``root.py``) as if it were a system. Whoever calls has a network,
mounts and processes of its own (``apart.py``), so that all of this is gone when it ends, however it ends.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.cloud.settings import HOST, PLACE

_END_SECONDS = 20.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Cinder and Nova mount what they take for a server's folder; there is no such server, and no other machine.
_MOUNT_NFS = f"""\
#!/bin/sh
[ $# -ge 2 ] || exit 0
exec mount --bind {PLACE}/volumes "$2"
"""
_LIBVIRT = 'auth_unix_rw = "none"\nauth_unix_ro = "none"\n'
_QEMU = """\
user = "root"
group = "root"
security_driver = "none"
namespaces = []
cgroup_controllers = []
remember_owner = 0
dynamic_ownership = 0
stdio_handler = "file"
"""


class Broken(Exception):
    """Something of the cloud did not start, or did not do what it should; the text says what."""


@dataclass
class Services:
    """``folder`` is this run's, which programs see as ``PLACE``; ``root`` is what they see as ``/``."""

    folder: Path
    root: Path
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def prepare(self, packages: Path, settings: Mapping[str, str]) -> None:
        """A layer above the folder of packages, and all files that programs read."""
        for name in (
            "etc",
            "log",
            "lock",
            "nova/instances",
            "neutron",
            "cinder/mounts",
            "volumes",
            "mysql",
            "rabbit",
        ):
            (self.folder / name).mkdir(parents=True, exist_ok=True, mode=0o755)
        for name, text in settings.items():
            _write(self.folder / "etc" / name, text)
        layer = self.root.parent
        for name in ("upper", "work", self.root.name):
            (layer / name).mkdir(parents=True, exist_ok=True)
        options = f"lowerdir={packages},upperdir={layer}/upper,workdir={layer}/work"
        _do("mount", "-t", "overlay", "-o", options, "cloud", str(self.root))
        for kind, place in (("proc", "proc"), ("sysfs", "sys"), ("tmpfs", "run"), ("tmpfs", "tmp")):
            _do("mount", "-t", kind, kind, str(self.root / place))
        _do("mount", "--rbind", "/dev", str(self.root / "dev"))
        (self.root / PLACE[1:]).mkdir(parents=True)
        _do("mount", "--bind", str(self.folder), str(self.root / PLACE[1:]))
        files = {
            "etc/hosts": f"{HOST} localhost cloud\n",
            "etc/hostname": "cloud\n",
            "etc/libvirt/libvirtd.conf": _LIBVIRT,
            "etc/libvirt/qemu.conf": _QEMU,
            "usr/sbin/mount.nfs": _MOUNT_NFS,
        }
        for name, text in files.items():
            (self.root / name).write_text(text)

    def start(self, name: str, *words: str, **environment: str) -> None:
        """Start a program, which runs until ``end``."""
        with (self.folder / "log" / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                ["chroot", str(self.root), *words],
                env=_environment(environment),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def run(self, name: str, *words: str, stdin: str = "", **environment: str) -> str:
        """Run a program to its end, and return what it wrote. Raises Broken where it fails."""
        done = subprocess.run(
            ["chroot", str(self.root), *words],
            env=_environment(environment),
            cwd="/",
            input=stdin,
            capture_output=True,
            text=True,
            timeout=1200,
        )
        with (self.folder / "log" / f"{name}.log").open("a") as log:
            log.write(done.stdout + done.stderr)
        if done.returncode:
            raise Broken(f"{' '.join(words[:3])} fails: {(done.stderr or done.stdout).strip()[-600:]}")
        return done.stdout

    def await_port(self, name: str, port: int, seconds: float = 300) -> None:
        """Until the program of that name takes connections."""

        def listens() -> bool:
            with contextlib.suppress(OSError), socket.create_connection((HOST, port), 5):
                return True
            return False

        self.await_(name, listens, seconds)

    def await_http(self, name: str, port: int, seconds: float = 300) -> None:
        """Until it answers."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

        def answers() -> bool:
            try:
                opener.open(f"http://{HOST}:{port}/", timeout=30).close()
            except urllib.error.HTTPError:
                return True
            except OSError:
                return False
            return True

        self.await_(name, answers, seconds)

    def await_(self, name: str, condition: Callable[[], bool], seconds: float = 300) -> None:
        """Until something holds that the program of that name brings about. Raises Broken where it ends, or
        where that takes longer.
        """
        until = time.monotonic() + seconds
        while not condition():
            status = self.running[name].poll() if name in self.running else None
            if status is not None or time.monotonic() > until:
                how = f"ended with {status}" if status is not None else f"is not ready after {seconds:.0f} s"
                raise Broken(f"{name} {how}: {self.last_lines(name)}")
            time.sleep(0.3)

    def last_lines(self, name: str) -> str:
        """The end of what a program wrote."""
        file = self.folder / "log" / f"{name}.log"
        return file.read_text("utf-8", "replace").strip()[-1500:] if file.exists() else ""

    def end(self) -> None:
        """End all, the last one first."""
        for process in reversed(self.running.values()):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        until = time.monotonic() + _END_SECONDS
        for process in self.running.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, until - time.monotonic()))
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.running.clear()


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """Nothing of the caller's."""
    return {"PATH": _PATH, "HOME": "/root", "LANG": "C.UTF-8", **more}


def _write(file: Path, text: str) -> None:
    """What may hold a password is nobody else's to read."""
    file.touch(mode=0o600)
    file.write_text(text)


def _do(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise Broken(f"{words[0]} fails: {done.stderr.strip()}")
