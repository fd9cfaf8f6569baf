"""What a sandbox sees, as words for bubblewrap (https://github.com/containers/bubblewrap)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from imagefactory.errors import EngineError
from imagefactory.system.processes import run, which

WORK = "/job"
INPUTS = "/in"
OUTSIDER = 2_000_000_000
"""The uid and gid of programs in a sandbox where root starts it, and the first of those that such a program
may have as its own: no system gives them to people or services
(https://systemd.io/UIDS-GIDS, "Unused").
"""
MANY = 65536
"""Ids for a program that makes a whole file system."""

_SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
# What dynamic linkers and Debian's links to programs need.
_SETTINGS = ("/etc/ld.so.cache", "/etc/alternatives")
_SHM_BYTES = 64 << 20


def sandbox_version() -> str:
    """Bubblewrap's version. Raises EngineError where it is missing."""
    if which("bwrap") is None:
        raise EngineError(
            "bubblewrap, which keeps what comes from outside in a sandbox, is not installed",
            hint="run ci/setup, or install the package bubblewrap",
        )
    return run(["bwrap", "--version"]).stdout.split()[-1]


def host_python() -> Path:
    """The Python that runs this, without its virtual environment."""
    here = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    if os.access(here, os.X_OK) and here.is_relative_to(sys.base_prefix):
        return here
    return Path(sys.base_prefix, "bin", "python3")  # it was started in a place that we do not see


def view(
    inputs: Path,
    read_only: Mapping[str, Path],
    environment: Mapping[str, str],
    disk: int,
    ids: int,
) -> list[str]:
    """The words that start a sandbox, up to the program that runs in it.

    It sees the system's programs and our Python, ``inputs`` at ``/in`` with ``read_only`` in it, and one
    folder to write to, of ``disk`` bytes. It is an ordinary user, or where ``ids`` is not 0, root of a user
    namespace with that many ids.
    """
    words = [*_who(ids), "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    words += [
        "--unshare-cgroup-try",
        "--die-with-parent",
        "--new-session",
        "--hostname",
        "sandbox",
        "--clearenv",
    ]
    for name, value in environment.items():
        words += ["--setenv", name, value]
    words += system()
    words += ["--proc", "/proc", "--dev", "/dev"]
    words += ["--size", str(_SHM_BYTES), "--perms", "1777", "--tmpfs", "/dev/shm", "--remount-ro", "/dev"]  # noqa: S108
    words += ["--size", str(disk), "--perms", "1777", "--tmpfs", WORK, "--symlink", "job/tmp", "/tmp"]  # noqa: S108
    words += _at_its_place(Path(sys.base_prefix))
    words += ["--ro-bind", str(inputs), INPUTS]
    for place, source in read_only.items():
        words += ["--ro-bind", str(source), f"{INPUTS}/{place}"]
    return [*words, "--remount-ro", "/", "--chdir", WORK]


def _who(ids: int) -> list[str]:
    """Root drops to somebody inside, see inside.py, for it alone may look into all folders that are bound."""
    mine: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    if os.geteuid() != 0:
        # Its setuid helpers give the ids that /etc/subuid and /etc/subgid have for us, where many are wanted.
        mine = ("--user", "--map-root-user", *(("--map-auto",) if ids > 1 else ()))
        more = () if ids else ("--unshare-user", "--uid", str(os.getuid()), "--gid", str(os.getgid()))
    bwrap, unshare = (which(name) or name for name in ("bwrap", "unshare"))
    # In process namespaces outside bwrap's own, which the errand can't see: whatever it does to the first
    # process that it sees, all of it has ended when unshare has, and unshare ends with us.
    around = (unshare, *mine, "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--")
    # Processes that the errand sees have nothing of our environment.
    return ["setpriv", "--pdeathsig", "KILL", "--", "env", "-i", *around, bwrap, *more]


def system() -> Iterator[str]:
    """The words that show a sandbox the system's programs, and what these need."""
    yield from ("--ro-bind", "/usr", "/usr", "--perms", "0755", "--dir", "/etc")
    for name in _SYSTEM:
        place = Path("/", name)
        if place.is_symlink():
            yield from ("--symlink", str(place.readlink()), str(place))
        elif place.is_dir():
            yield from ("--ro-bind", str(place), str(place))
    for setting in _SETTINGS:
        yield from ("--ro-bind-try", setting, setting)


def _at_its_place(path: Path) -> Iterator[str]:
    """A folder outside /usr; those above it are empty but for that."""
    if path.is_relative_to("/usr"):
        return
    for parent in reversed(path.parents[:-1]):
        yield from ("--perms", "0755", "--dir", str(parent))
    yield from ("--ro-bind", str(path), str(path))
