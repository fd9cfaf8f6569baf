"""Commands in a machine, over ssh: with a key that is made for it alone, and nothing of the caller's own
settings.
"""

from __future__ import annotations

import contextlib
import secrets
import shlex
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from imagefactory.errors import BadInput, BuildFailed, Interrupted
from imagefactory.guest.options import check_user
from imagefactory.guest.programs import program
from imagefactory.system.processes import Stop, feed, run, stream

KEPT_LETTERS = 1 << 20
"""Of what a command writes, that many of the last are kept."""

_LOST = 255  # ssh's own status; a command may have it too
_KILLED = 137
_GRACE = 15.0  # seconds, for the machine's own limit to be met before ours
_ANSWER_SECONDS = 30  # with the exchange of keys, which takes an emulated machine its time
_SETTINGS = {
    "BatchMode": "yes",
    "IdentitiesOnly": "yes",
    "IdentityAgent": "none",
    "PreferredAuthentications": "publickey",
    # The first key that it shows is the machine's; another one later is somebody else's.
    "StrictHostKeyChecking": "accept-new",
    "UserKnownHostsFile": "known_hosts",
    "GlobalKnownHostsFile": "none",
    "HostKeyAlias": "guest",
    "UpdateHostKeys": "no",
    "CheckHostIP": "no",
    "ForwardAgent": "no",
    "ConnectTimeout": str(_ANSWER_SECONDS),
    "ServerAliveInterval": "15",
    "ServerAliveCountMax": "8",
    "LogLevel": "ERROR",
    "ControlPath": "link",
    "ControlMaster": "no",
}
# Tells a command's own status 255 from ssh's.
_REMOTE = '"$@"; s=$?; [ "$s" -ne 255 ] || printf "\\n%s\\n" "$0"; exit "$s"'


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended, and the last of what it wrote, in KEPT_LETTERS. ``stopped`` is "time" where its
    time was up, "size" where it wrote more than a file may take.
    """

    status: int
    output: str
    seconds: float
    stopped: str = ""


def make_key(folder: Path) -> str:
    """Make the key ``key`` in a folder that only we may read, and return its public half. Raises
    EngineError or BuildFailed where it can't be made.
    """
    words = [program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", "imagefactory", "-f", "key"]
    done = run(words, cwd=folder)
    if done.status:
        raise BuildFailed(
            f"ssh-keygen can't make a key: {done.stderr.strip()}",
            hint="these are ssh-keygen's own words: put that right, then try again",
        )
    return (folder / "key.pub").read_text(encoding="ascii").strip()


class Shell:
    """Logs in to a machine as ``user``. ``folder`` holds the key; ``port`` of 127.0.0.1 leads to the
    machine. ``check`` raises what has happened to the machine.
    """

    def __init__(self, folder: Path, port: int, user: str, stop: Stop, check: Callable[[], None]) -> None:
        self._folder, self._port, self._user = folder, port, check_user(user)
        self._stop, self._check = stop, check
        self._link_stop = Stop()
        self._link: threading.Thread | None = None

    def why_not(self) -> str:
        """Why nobody can log in yet; "" where we can."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 5) as peer:
            # QEMU takes connections before there is anybody in the machine to answer.
            peer.settimeout(5)
            if not peer.recv(4).startswith(b"SSH-"):
                return "nothing answers at its port 22"
            said: list[str] = []
            with self._within(2 * _ANSWER_SECONDS) as own:
                try:
                    status = stream(self._words("true"), said.append, stop=own, **self._how)
                except Interrupted:
                    self._stop.check()
                    return "its ssh server does not answer in time"
            return "" if status == 0 else (said or [f"ssh ends with status {status}"])[-1]
        return "nothing answers at its port 22"

    def keep_link(self) -> None:
        """Keep a connection that all commands share from now on: each by itself would take a second."""
        if self._link and self._link.is_alive():
            return
        words = self._words(None, ControlMaster="yes")

        def hold() -> None:
            with contextlib.suppress(Exception):
                stream(words, lambda line: None, stop=self._link_stop, **self._how)

        self._link = threading.Thread(target=hold, name="ssh", daemon=True)
        self._link.start()
        until = time.monotonic() + _ANSWER_SECONDS
        while time.monotonic() < until and self._link.is_alive() and not (self._folder / "link").exists():
            self._stop.wait(0.05)

    def forward(self, port: int) -> int:
        """Have a port of 127.0.0.1 lead to that port there as long as the connection is kept, and return it.

        Raises BuildFailed where the connection does not do that.
        """
        with socket.create_server(("127.0.0.1", 0)) as free:
            ours = int(free.getsockname()[1])
        words = self._words(None)
        words[1:1] = ["-O", "forward", "-L", f"127.0.0.1:{ours}:127.0.0.1:{port}"]
        done = run(words, cwd=self._folder, timeout=_ANSWER_SECONDS)
        if done.status:
            raise BuildFailed(f"ssh leads to no port of the virtual machine: {done.stderr.strip()[-300:]}")
        return ours

    def end_link(self) -> None:
        """Give that connection up."""
        self._link_stop.now()
        if self._link:
            self._link.join()

    def run(
        self,
        command: Sequence[str] | str,
        *,
        user: str,
        timeout: float,
        on_line: Callable[[str], None],
        stdin: IO[bytes] | None = None,
        output: tuple[IO[bytes], int] | None = None,
    ) -> Outcome:
        """Run words, or a script for a POSIX shell, and return how that ended; ``output`` is a file for what
        it writes to its standard output, and the most bytes of that. Raises BuildFailed where the
        connection was lost.
        """
        heard = _Heard(on_line)
        began = time.monotonic()
        order, file = self._order(command, user, timeout, heard.mark), None
        words = self._words(order)
        if output:
            # By itself: whoever holds the connection that is shared would write, without the bound.
            file = output[0]
            words = ["prlimit", f"--fsize={output[1]}", "--", *self._words(order, ControlPath="none")]
        try:
            with self._within(timeout + _GRACE) as own:
                status = stream(words, heard, stop=own, newline="\n", stdin=stdin, output=file, **self._how)
        except Interrupted:
            self._stop.check()
            self._check()
            return Outcome(-signal.SIGKILL, heard.text(), time.monotonic() - began, "time")
        return self._outcome(status, heard, time.monotonic() - began, timeout)

    def send(
        self, command: Sequence[str], write: Callable[[IO[bytes]], None], *, user: str, timeout: float
    ) -> Outcome:
        """Run words that read what ``write`` writes."""
        heard = _Heard(lambda line: None)
        began = time.monotonic()
        words = self._words(self._order(command, user, timeout, heard.mark))
        try:
            with self._within(timeout + _GRACE) as own:
                status = feed(words, write, heard, stop=own, cwd=self._folder, end_with=signal.SIGKILL)
        except Interrupted:
            self._stop.check()
            self._check()
            return Outcome(-signal.SIGKILL, heard.text(), time.monotonic() - began, "time")
        return self._outcome(status, heard, time.monotonic() - began, timeout)

    @property
    def _how(self) -> dict[str, Any]:
        return {"cwd": self._folder, "end_with": signal.SIGKILL}

    def _outcome(self, status: int, heard: _Heard, seconds: float, timeout: float) -> Outcome:
        if status == _LOST and not heard.marked:
            self._stop.check()
            self._check()
            said = heard.text().strip()[-300:]
            raise BuildFailed(
                f"the connection to the virtual machine was lost: {said or 'ssh said nothing'}",
                hint="look at the machine's console in the log",
            )
        if status == -signal.SIGXFSZ:
            return Outcome(status, heard.text(), seconds, "size")
        stopped = "time" if status == _KILLED and seconds >= timeout else ""
        return Outcome(status, heard.text(), seconds, stopped)

    def _order(self, command: Sequence[str] | str, user: str, timeout: float, mark: str) -> str:
        """One line for whatever shell the user has there: all else is data to it."""
        words = ["sh", "-c", command] if isinstance(command, str) else [*command]
        if any("\0" in word for word in words):
            raise BadInput("a command has a character that no command can have (NUL)")
        words = ["timeout", "--signal=KILL", f"{timeout:.3f}", *words]
        if check_user(user) != self._user:
            words = ["sudo", "-n", "-H", "-u", user, "--", *words]
        return shlex.join(["sh", "-c", _REMOTE, mark, *words])

    def _words(self, order: str | None, **settings: str) -> list[str]:
        """The words of ssh, which runs in the folder, so that no path has to fit into a setting or a
        socket's name.
        """
        words = [program("ssh"), "-F", "none", "-T", "-i", "key", "-p", str(self._port), "-l", self._user]
        for name, value in {**_SETTINGS, **settings}.items():
            words += ["-o", f"{name}={value}"]
        return [*words, "127.0.0.1", order] if order is not None else [*words, "-N", "127.0.0.1"]

    @contextlib.contextmanager
    def _within(self, seconds: float) -> Iterator[Stop]:
        own = Stop()
        timer = threading.Timer(seconds, own.now)
        timer.daemon = True
        timer.start()
        try:
            with self._stop.ends(own.now):
                yield own
        finally:
            timer.cancel()


class _Heard:
    """What a command writes, line by line; its last part is kept."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self.mark = secrets.token_hex(16)
        self.marked = False
        self._on_line = on_line
        self._lines: list[str] = []
        self._letters = 0

    def __call__(self, line: str) -> None:
        if line == self.mark:
            self.marked = True
            if self._lines and not self._lines[-1]:  # the empty line that goes before it
                self._lines.pop()
            return
        self._lines.append(line)
        self._letters += len(line) + 1
        if self._letters > 2 * KEPT_LETTERS:
            self._lines = [self.text()]
            self._letters = len(self._lines[0])
        self._on_line(line)

    def text(self) -> str:
        return "".join(f"{line}\n" for line in self._lines)[-KEPT_LETTERS:]
