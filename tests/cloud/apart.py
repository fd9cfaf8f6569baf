"""A network, mounts, processes and a name of one's own, which the cloud has for itself.

Nothing outside reaches what listens in there, and nothing in there reaches a network. When the first process
in there ends, the kernel ends all others, and takes away bridges, addresses and mounts.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

_GRACE = 90.0
_WORDS = ("unshare", "--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc")


def run_apart(words: Sequence[str], terminal: bool = False) -> int:
    """Run words in there, and return their status. They are interrupted when this process is, or ends, and
    killed where they do not end in time. With ``terminal`` they have that of this process.
    """
    read, write = os.pipe()
    process = subprocess.Popen(
        [*_WORDS, *words],
        pass_fds=[read],
        env={**os.environ, "CLOUD_LIFELINE": str(read)},
        start_new_session=not terminal,
    )
    os.close(read)
    try:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                if not terminal:
                    raise
    except BaseException:
        os.close(write)
        write = -1
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
        raise
    finally:
        process.kill()  # --kill-child ends the rest
        process.wait()
        if write >= 0:
            os.close(write)


def settle() -> None:
    """What the first process in there does first: a network, a name, and an ear for whoever started it. It is
    another one that returns from here.
    """
    _have_others_reaped()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    subprocess.run(["mount", "-t", "sysfs", "sysfs", "/sys"], check=True)  # of this network
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["hostname", "cloud"], check=True)
    lifeline = int(os.environ.pop("CLOUD_LIFELINE"))
    os.set_inheritable(lifeline, False)

    def listen() -> None:
        while os.read(lifeline, 1):
            pass
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=listen, daemon=True).start()


def _have_others_reaped() -> None:
    """Go on in a child: the first process takes leave of those whose parents are gone. libvirt waits long for
    a QEMU of which nobody does.
    """
    child = os.fork()
    if child == 0:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        ended, status = os.wait()
        if ended == child:
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def python(module: str, *words: str) -> list[str]:
    """The words that run a module."""
    return [sys.executable, "-m", module, *words]
