"""Packer, through packer-py: a template's build, heard line by line, and ended when it has to.

It runs in a sandbox, and QEMU with it, with a network of their own: a machine that is built has no more in
reach than one that is tested.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from packerpy import PackerExecutable

from imagefactory.errors import BuildFailed, EngineError
from imagefactory.guest import confining_words
from imagefactory.sandbox.view import OUTSIDER
from imagefactory.system.log import Log
from imagefactory.system.processes import Stop, run, which
from imagefactory.targets.vm.heard import Heard

_FOLDER = "/build"
_INPUTS = "/in"
_PLUGINS = "/plugins"
_TEMPORARY = "tmp"
_PATIENCE = 60.0  # seconds until a Packer that was only just started has said which process it is


def packer_version() -> str:
    """Packer's version. Raises EngineError where it is missing."""
    place = which("packer")
    if place is None:
        raise EngineError(
            "Packer, which builds VM images, is not installed",
            hint="run ci/setup vm, or install Packer 1.6 or newer",
        )
    said = run([place, "version"]).stdout.split()
    return next((word.removeprefix("v") for word in said if word.startswith("v")), "unknown")


def build(
    folder: Path,
    only: str,
    variables: Mapping[str, str],
    inputs: Mapping[str, Path],
    scratch: Path,
    log: Log,
    stop: Stop,
    *,
    kvm: bool = False,
) -> None:
    """Build the template in ``folder`` with one of its sources: all that Packer and QEMU may write to, and
    where they stand, so that ``variables`` name files by their places in it. ``inputs`` are variables that
    name other files, which are only read. What is our own in ``folder`` belongs to an outsider then, where
    we are root; what the builder wrote must be looked at as what a stranger wrote.

    On a stop all of it is killed. Raises BuildFailed with the last words of the script that failed, or
    Packer's own errors; EngineError where it or bubblewrap is missing; or Interrupted.
    """
    packer_version()
    for name in ("home", _TEMPORARY):
        (folder / name).mkdir()
    _give(folder, inputs)
    with _Started(folder, inputs, scratch, kvm) as started:
        heard = Heard(log)
        packer = PackerExecutable(
            executable_path=str(started.program), machine_readable=True, config={"stdout": started.output}
        )
        reader = threading.Thread(target=started.read, args=(heard,), daemon=True)
        reader.start()
        named = {**variables, **{name: f"{_INPUTS}/{name}" for name in inputs}}
        with stop.ends(started.end):
            # Its variables are words of a command, which everybody sees: none is a secret.
            status, _, said = packer.build(_FOLDER, only=only, var=named)
        started.close()
        reader.join()
        stop.check()
        if status:
            said_last = [line for line in said.decode("utf-8", "replace").splitlines() if line][-1:]
            why = heard.why() or " ".join(said_last) or f"it ended with {status}"
            raise BuildFailed(
                f"{log.id}: Packer failed: {why}",
                hint="its last lines are below, and all of them in the log",
                step=heard.step,
                tail=heard.tail(),
                log=log.path,
            )


def _give(folder: Path, inputs: Mapping[str, Path]) -> None:
    """A folder with all in it, to the outsider that the builder is where we are root, who may read
    ``inputs`` whatever the umask was.
    """
    if os.geteuid() == 0:
        for path in inputs.values():
            path.chmod(path.stat().st_mode | 0o444)
        for each in (folder, *folder.rglob("*")):
            os.chown(each, OUTSIDER, OUTSIDER, follow_symlinks=False)


class _Started:
    """What Packer is started through: a program that says which process it is, and enters the sandbox."""

    def __init__(self, folder: Path, inputs: Mapping[str, Path], scratch: Path, kvm: bool) -> None:
        self._number = scratch / "packer.pid"
        self.program = scratch / "start-packer"
        self._words = _words(folder, inputs, kvm)
        self._read, self.output = os.pipe()
        self._closed = False

    def __enter__(self) -> _Started:
        words = f'env -i PATH="$PATH" {shlex.join(["setsid", *self._words])}'
        self.program.write_text(f'#!/bin/sh\necho $$ >{shlex.quote(str(self._number))}\nexec {words} "$@"\n')
        self.program.chmod(0o700)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._kill()
        os.close(self._read)

    def close(self) -> None:
        """Our end of Packer's output, so that whoever reads it comes to its end."""
        if not self._closed:
            self._closed = True
            os.close(self.output)

    def read(self, heard: Heard) -> None:
        with os.fdopen(os.dup(self._read), encoding="utf-8", errors="replace") as lines:
            for line in lines:
                heard(line)

    def end(self) -> None:
        """Have the sandbox end, and with it all that is in it."""
        threading.Thread(target=self._end, daemon=True).start()

    def _end(self) -> None:
        until = time.monotonic() + _PATIENCE
        # Perhaps it was only just started; once it has ended, its number may be another's.
        while not self._closed and not self._kill() and time.monotonic() < until:
            time.sleep(0.1)

    def _kill(self) -> bool:
        with contextlib.suppress(OSError, ValueError):
            os.killpg(int(self._number.read_text()), signal.SIGKILL)
            return True
        return False


def _words(folder: Path, inputs: Mapping[str, Path], kvm: bool) -> list[str]:
    """The words that run Packer in the sandbox, up to its own."""
    packer = which("packer")
    assert packer
    shown = ["--bind", str(folder), _FOLDER, "--perms", "0755", "--dir", _INPUTS]
    for name, path in inputs.items():
        shown += ["--ro-bind", str(path), f"{_INPUTS}/{name}"]
    shown += ["--ro-bind", str(Path(packer).resolve()), f"{_INPUTS}/packer"]
    settings = {
        "HOME": f"{_FOLDER}/home",
        "TMPDIR": f"{_FOLDER}/{_TEMPORARY}",
        "PACKER_CACHE_DIR": f"{_FOLDER}/home/cache",
        "CHECKPOINT_DISABLE": "1",
    }
    if plugins := _plugins():
        shown += ["--ro-bind", str(plugins), _PLUGINS]
        settings["PACKER_PLUGIN_PATH"] = _PLUGINS
    return [
        *confining_words(kvm=kvm, network=False, shown=shown, settings=settings, place=_FOLDER),
        f"{_INPUTS}/packer",
    ]


def _plugins() -> Path | None:
    """Where the caller has plugins of Packer 1.7 and newer
    (https://developer.hashicorp.com/packer/docs/configure#configure-the-packer-plugin-directory).
    """
    home = Path.home()
    named = os.environ.get("PACKER_PLUGIN_PATH", "").split(":")[0]
    places = [Path(named)] if named else [home / ".config/packer/plugins", home / ".packer.d/plugins"]
    return next((place for place in places if place.is_dir()), None)
