"""Canaries on this machine, and a program that tries to make them sing from wherever it is run.

A canary is something that nothing from outside may reach: a file, a variable, a socket, a port, a folder. The
probe is a shell script for any Debian. It prints ``it sang: …`` for each that it reached, and at its end
``the probe has run as UID of the machine``.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SANG = "it sang: "
OUTSIDER = 2_000_000_000
"""The first id of the machine's that a sandbox has where root starts it."""
_ENDED = re.compile(r"the probe has run as (\d+) of the machine")

_SCRIPT = """\
# Everything is tried; whether it can be done is what is asked.
set +e +u
sang() {{ echo "it sang: $1"; }}
grep -qs {song} {file} && sang 'a file of the caller'
(: >{folder}/egg) 2>/dev/null && sang 'a folder of the caller'
env | grep -qs {song} && sang 'a variable of the caller'
for process in /proc/[0-9]*; do
    grep -qsa {song} "$process/environ" "$process/cmdline" && sang 'the environment of a process outside'
    grep -qs {song} "$process/root{file}" && sang 'a file of the caller through another process'
done
for socket in /run/docker.sock /var/run/docker.sock /run/containerd/containerd.sock; do
    [ -S "$socket" ] && sang "$socket"
done
# In Debian's essential packages there is no other program that speaks to a port.
reach() {{ perl -MIO::Socket::INET -e 'exit !IO::Socket::INET->new(PeerAddr => shift, Timeout => 1)' "$1"; }}
reach 127.0.0.1:{port} 2>/dev/null && sang 'a port of the machine'
reach 192.0.2.1:80 2>/dev/null && sang 'another host'
perl -MSocket -e 'socket(S, PF_UNIX, SOCK_STREAM, 0); exit !connect(S, pack_sockaddr_un("\\0{song}"))' \\
    2>/dev/null && sang 'an abstract socket of the machine'
grep -qsE '^ *(eth|en|wl|docker|br)' /proc/net/dev && sang 'a network interface of the machine'
# What is this user outside? In a user namespace the ids begin elsewhere.
me=$(id -u)
while read -r inside outside count; do
    if [ "$me" -ge "$inside" ] && [ "$me" -lt "$((inside + count))" ]; then me=$((me - inside + outside)); fi
done </proc/self/uid_map
echo "the probe has run as $me of the machine"
"""


@dataclass(frozen=True)
class Canaries:
    """Where they sit. ``environment`` is for the caller of whatever is probed."""

    song: str
    file: Path
    folder: Path
    port: int

    @property
    def environment(self) -> dict[str, str]:
        return {"ZZ_CANARY_PASSWORD": self.song}

    @property
    def script(self) -> str:
        """The probe."""
        return _SCRIPT.format(song=self.song, file=self.file, folder=self.folder, port=self.port)


@contextmanager
def canaries(folder: Path) -> Iterator[Canaries]:
    """Canaries below ``folder``; at the end none of them has been touched."""
    cage = folder / "canaries"
    cage.mkdir()
    cage.chmod(0o777)
    song = f"canary-{secrets.token_hex(12)}"
    file = cage / "key"
    file.write_text(song)
    file.chmod(0o644)  # whoever sees it may read it
    (nest := cage / "nest").mkdir()
    nest.chmod(0o777)
    heard: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as port, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind(f"\0{song}")
        abstract.listen()
        for listener in (port, abstract):
            threading.Thread(target=_hear, args=(listener, heard), daemon=True).start()
        yield Canaries(song, file, nest, port.getsockname()[1])
        for listener in (port, abstract):
            listener.shutdown(socket.SHUT_RDWR)
    assert not heard, heard
    assert not list(nest.iterdir())
    assert file.read_text() == song


def _hear(listener: socket.socket, heard: list[str]) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            heard.append(f"somebody came to {listener.getsockname()!r}")


def assert_silent(said: str) -> int:
    """The probe has run, and reached none of the canaries; the machine's id of the user that it ran as."""
    ended = _ENDED.search(said)
    assert ended, f"the probe has not run to its end:\n{said[-3000:]}"
    assert [line for line in said.splitlines() if SANG in line] == []
    return int(ended[1])


def assert_outsider(said: str) -> None:
    """The same, and that user is nobody outside: not root where root started it."""
    assert assert_silent(said) == (OUTSIDER if os.getuid() == 0 else os.getuid())
