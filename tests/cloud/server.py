"""Servers of the cloud, as their owner sees them: over ssh."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

from openstack.connection import Connection

from tests.cloud.services import Broken

LOGIN_SECONDS = 1800
"""An emulated machine on a busy one takes its time."""


def make_key(folder: Path) -> Path:
    """A key that is for this run alone; its public half is beside it."""
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    return key


class Server:
    """A server by its name."""

    def __init__(self, user: Connection, name: str, key: Path) -> None:
        self._cloud: Any = user
        self._id = self._cloud.compute.find_server(name, ignore_missing=False).id
        server = self._cloud.compute.get_server(self._id)
        self.address: str = next(each["addr"] for net in server.addresses.values() for each in net)
        self.image: str = server.image["id"]
        self._words = ["ssh", "-F", "none", "-i", str(key), "-o", "StrictHostKeyChecking=no"]
        for setting in (
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "ConnectTimeout=20",
            "BatchMode=yes",
        ):
            self._words += ["-o", setting]

    def await_login(self) -> float:
        """Until somebody can log in; how long that took. Raises Broken, with the end of its console."""
        began = time.monotonic()
        while subprocess.run(self._ssh("true"), capture_output=True).returncode:
            if time.monotonic() - began > LOGIN_SECONDS:
                raise Broken(f"nobody can log in to {self.address}: {self.console()}")
            time.sleep(2)
        return time.monotonic() - began

    def run(self, script: str, seconds: float = LOGIN_SECONDS, status: int | None = 0) -> str:
        """What a script for its shell writes. Raises Broken where it ends otherwise."""
        done = subprocess.run(self._ssh(script), capture_output=True, text=True, timeout=seconds)
        if status is not None and done.returncode != status:
            raise Broken(f"{script!r} ends with {done.returncode}: {(done.stdout + done.stderr)[-1500:]}")
        return done.stdout

    def console(self) -> str:
        """The end of what it says on its serial line."""
        told: dict[str, str] = self._cloud.compute.get_server_console_output(self._id, length=40)
        return told["output"]

    def _ssh(self, script: str) -> list[str]:
        return [*self._words, f"debian@{self.address}", script]
