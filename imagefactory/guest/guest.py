"""A disk, booted: the machine, and all that can be done with it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from imagefactory.errors import BadInput, Bug, BuildFailed, disk_error
from imagefactory.guest.agent import ping
from imagefactory.guest.console import clean
from imagefactory.guest.files import TAR_BYTES, pack, unpack
from imagefactory.guest.machine import Machine
from imagefactory.guest.options import BootOptions
from imagefactory.guest.ssh import Outcome, Shell

PICTURE = "screen.png"
"""The file in a machine's folder that takes pictures of its screen."""

_PAUSE = 0.5
_MOST_BYTES = 1 << 30


def _quiet(line: str) -> None:
    """Nobody listens."""


class Guest:
    """A machine that runs. Made by ``boot``."""

    def __init__(
        self,
        machine: Machine,
        options: BootOptions,
        folder: Path,
        agent: socket.socket,
        picture: IO[bytes] | None,
    ) -> None:
        self.options = options
        self._machine, self._folder, self._agent, self._picture = machine, folder, agent, picture
        self._shell: Shell | None = None
        self._booted = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long it runs by now."""
        return time.monotonic() - self._booted

    def wait_for_ssh(self, seconds: float) -> float:
        """Wait until its user can log in, and return how many seconds after the start that was. Raises
        BuildFailed where it is not so within ``seconds``, or the machine ended.
        """
        shell, until = self._connected(), time.monotonic() + seconds
        while why := shell.why_not():
            self._machine.check()
            if time.monotonic() >= until:
                raise self._late(
                    f"nobody could log in to the virtual machine within {seconds:g} seconds: {clean(why)}"
                )
            self._machine.wait(_PAUSE)
        shell.keep_link()
        return self.seconds

    def wait_for_console(self, pattern: str, seconds: float) -> float:
        """The same for a regular expression in what the console says."""
        until = time.monotonic() + seconds
        while not self.console_has(pattern):
            if self._machine.ended and self._said(pattern):
                break
            self._machine.check()
            if time.monotonic() >= until:
                raise self._late(
                    f"the virtual machine's console did not say {pattern!r} within {seconds:g} seconds"
                )
            self._machine.wait(_PAUSE)
        return self.seconds

    def run(
        self,
        command: Sequence[str] | str,
        *,
        user: str = "",
        timeout: float = 60,
        stdin: bytes = b"",
        on_line: Callable[[str], None] = _quiet,
    ) -> Outcome:
        """Run words, or a script for a POSIX shell, as the user who logs in, or with sudo as ``user``. It
        reads ``stdin``, and is ended after ``timeout`` seconds. Raises BuildFailed where the machine, or
        the connection to it, went away.
        """
        self._machine.check()
        with self._file(stdin) as file:
            return self._connected().run(
                command, user=user or self.options.user, timeout=timeout, on_line=on_line, stdin=file
            )

    def forward(self, port: int) -> int:
        """A new port of 127.0.0.1 that leads, through ssh, to the machine's own ``port`` as long as it runs.

        Raises BuildFailed where ssh does not do that.
        """
        self._machine.check()
        shell = self._connected()
        shell.keep_link()
        return shell.forward(port)

    def copy_in(
        self, source: Path | Mapping[str, bytes], to: str, *, user: str = "", timeout: float = 600
    ) -> None:
        """Bring a file, what is in a folder, or bytes by their paths into the folder ``to`` there, which is
        made. Links stay links. Raises BuildFailed where that fails.
        """
        self._machine.check()
        words = ["sh", "-c", 'mkdir -p -- "$0" && exec tar -C "$0" --no-same-owner -xf -', to]
        with pack(source) as write:
            done = self._connected().send(words, write, user=user or self.options.user, timeout=timeout)
        if done.status or done.stopped:
            raise _failed("bring files into", done)

    def copy_out(
        self, path: str, to: Path, *, user: str = "", timeout: float = 600, limit: int = _MOST_BYTES
    ) -> list[str]:
        """Bring the file or folder ``path`` from there into the folder ``to``, and return the files' paths
        in it. Links and what is no file stay there. Raises BuildFailed where that fails, or it is more than
        ``limit`` bytes.
        """
        self._machine.check()
        folder, _, name = path.rstrip("/").rpartition("/")
        if not name or not path.startswith("/"):
            raise BadInput(f"{path!r} is no path of a file in a machine", hint="it begins with /")
        words = ["tar", "-C", folder or "/", "-cf", "-", "--", name]
        with self._file() as file:
            done = self._connected().run(
                words,
                user=user or self.options.user,
                timeout=timeout,
                on_line=_quiet,
                output=(file, limit + TAR_BYTES),
            )
            if done.stopped == "size":
                raise BuildFailed(f"{clean(path)} of the virtual machine has more than {limit} bytes")
            if done.status or done.stopped:
                raise _failed(f"bring {clean(path)} out of", done)
            return unpack(file, to, f"{clean(path)} of the virtual machine", limit)

    def console(self, kib: int = 64) -> str:
        """The last of what it said on its serial line, as people may see it."""
        assert self._machine.console is not None
        return self._machine.console.text()[-(kib << 10) :]

    def console_has(self, pattern: str) -> bool:
        """Whether a regular expression is found in what is kept of the console: its first and its last
        megabyte.
        """
        assert self._machine.console is not None
        return re.search(pattern, self._machine.console.text(), re.MULTILINE) is not None

    def screenshot(self, png: Path) -> None:
        """Write the picture of its screen to a PNG file."""
        self._machine.check()
        if self._picture is None:
            raise Bug("a machine without a screen was asked for a picture of it")
        number = self._picture.fileno()
        try:
            os.ftruncate(number, 0)
            os.lseek(number, 0, os.SEEK_SET)
            self._machine.ask("screendump", filename=f"/dev/fdset/{number}", format="png")
            shutil.copyfile(self._folder / PICTURE, png)
        except OSError as error:
            raise disk_error(error, png) from None

    def agent_answers(self, seconds: float = 10) -> bool:
        """Whether QEMU's guest agent runs in the machine, and answers."""
        self._machine.check()
        return ping(self._agent, seconds)

    def powerdown(self, seconds: float = 120) -> float:
        """Press the power button, wait until the machine is off, and return how many seconds that took.
        Raises BuildFailed where it is still on after ``seconds``.
        """
        self._machine.check()
        began = time.monotonic()
        self._machine.ask("system_powerdown")
        if not self._machine.wait(seconds):
            raise self._late(f"the virtual machine did not switch itself off within {seconds:g} seconds")
        if self._shell:
            self._shell.end_link()
        return time.monotonic() - began

    def close(self) -> None:
        """End what of ours talks with it."""
        if self._shell:
            self._shell.end_link()

    def _connected(self) -> Shell:
        if self._shell is None:
            if self.options.network == "none":
                raise Bug("a machine without a network was asked to log somebody in")
            port = self._machine.port()
            self._shell = Shell(
                self._folder, port, self.options.user, self._machine.stop, self._machine.check
            )
        return self._shell

    @contextlib.contextmanager
    def _file(self, data: bytes = b"") -> Iterator[IO[bytes]]:
        """A file without a name in our folder."""
        with tempfile.TemporaryFile(dir=self._folder) as file:
            try:
                file.write(data)
                file.seek(0)
            except OSError as error:
                raise disk_error(error, self._folder) from None
            yield file

    def _said(self, pattern: str) -> bool:
        """Whether it has said that before it ended."""
        assert self._machine.console is not None
        self._machine.console.join()
        return self.console_has(pattern)

    def _late(self, message: str) -> BuildFailed:
        tail = self.console(8).splitlines()[-15:]
        return BuildFailed(message, hint="its console tells how far it came", tail=tail)


def _failed(what: str, done: Outcome) -> BuildFailed:
    why = "it took too long" if done.stopped else clean(done.output).strip()[-300:] or f"status {done.status}"
    return BuildFailed(
        f"can't {what} the virtual machine: {why}", hint="look at the machine's console in the log"
    )
