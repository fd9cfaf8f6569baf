"""What QEMU itself has in reach: the system's programs and firmware, the files that it is given open, and
nobody's rights. A machine under test is root of itself, and QEMU is large: who gets out of the one gets no
further.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from imagefactory.sandbox.view import OUTSIDER, sandbox_version, system

KVM = Path("/dev/kvm")
_PATH = "/usr/bin:/bin:/usr/sbin:/sbin"
_SPACES = ("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try")


def confining_words(
    *,
    kvm: bool,
    network: bool,
    shown: Sequence[str] = (),
    settings: Mapping[str, str] | None = None,
    place: str = "/",
) -> list[str]:
    """The words before QEMU's own, or those of what starts it, which end it with us. ``network`` says whether
    it needs this machine's; ``shown`` is more that it has in reach, as words for bubblewrap, ``settings`` its
    environment beside PATH, and ``place`` the folder where it starts. Raises EngineError where bubblewrap is
    missing.
    """
    sandbox_version()
    words = ["prlimit", "--core=0", "--", "setpriv", "--pdeathsig", "KILL", "--", "bwrap", *_SPACES]
    if os.geteuid() != 0:
        words += ["--unshare-user", "--uid", str(os.getuid()), "--gid", str(os.getgid())]
    if not network:
        words.append("--unshare-net")
    words += [
        "--die-with-parent",
        "--new-session",
        "--hostname",
        "machine",
        "--clearenv",
        "--setenv",
        "PATH",
        _PATH,
    ]
    for name, value in (settings or {}).items():
        words += ["--setenv", name, value]
    words += [*system(), "--proc", "/proc", "--dev", "/dev"]
    if kvm:
        words += ["--dev-bind", str(KVM), str(KVM)]
    words += ["--remount-ro", "/dev", *shown, "--remount-ro", "/", "--chdir", place, "--"]
    return [*words, *_as_nobody(kvm)]


def _as_nobody(kvm: bool) -> list[str]:
    """Where we are root, QEMU is nobody, who may open KVM where its group or anybody may."""
    if os.geteuid() != 0:
        return ["setpriv", "--no-new-privs", "--"]
    groups: tuple[str, ...] = ("--clear-groups",)
    if kvm:
        found = KVM.stat()
        if found.st_mode & stat.S_IWOTH == 0:
            if found.st_mode & stat.S_IWGRP == 0 or found.st_gid == 0:
                return ["setpriv", "--no-new-privs", "--"]  # only root may
            groups = ("--groups", str(found.st_gid))
    rights = ("--inh-caps=-all", "--bounding-set=-all", "--no-new-privs")
    return ["setpriv", f"--reuid={OUTSIDER}", f"--regid={OUTSIDER}", *groups, *rights, "--"]
