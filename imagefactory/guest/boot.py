"""From a finished disk to a machine that boots: the disk itself is only read."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from imagefactory.errors import BadInput, BuildFailed, disk_error
from imagefactory.guest.facts import disk_facts
from imagefactory.guest.firmware import uefi
from imagefactory.guest.guest import PICTURE, Guest
from imagefactory.guest.machine import running
from imagefactory.guest.options import BootOptions
from imagefactory.guest.programs import check_qemu, program
from imagefactory.guest.seed import write_seed
from imagefactory.guest.ssh import make_key
from imagefactory.guest.words import Wiring
from imagefactory.system.files import remove_tree
from imagefactory.system.processes import Stop, run

CONSOLE = "console.log"


def _quiet(line: str) -> None:
    """Nobody listens."""


@contextlib.contextmanager
def boot(
    disk: Path,
    options: BootOptions,
    scratch: Path,
    stop: Stop,
    on_line: Callable[[str], None] = _quiet,
) -> Iterator[Guest]:
    """A machine that boots from what ``disk`` holds, a qcow2 or raw file; what it writes goes to an overlay
    in a folder of its own in ``scratch``. ``on_line`` hears what its console says, from another thread. It
    ends with the block, or with us; it must be used in the block's own thread.

    Raises EngineError where QEMU is missing or does not start, BuildFailed where the disk is none or no
    space is left, BadInput where it would have to shrink, and Interrupted on a stop.
    """
    check_qemu()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(_private_folder(scratch))
        files = _Files(stack, folder)
        base = files.read(disk)
        facts = disk_facts(disk, base)
        size = options.grow_to or facts.virtual_size
        if size < facts.virtual_size:
            raise BadInput(f"{disk} has {facts.virtual_size} bytes, and can't boot with {size}")
        overlay = files.overlay(size)
        more = [files.read(each) for each in options.disks]
        volumes = [(files.open_volume(each.path), each.serial) for each in options.volumes]
        if options.seed:
            iso = folder / "seed.iso"
            write_seed(options.seed, make_key(folder), iso, network=options.network != "none")
            more.append(files.read(iso))
        picture = files.write(PICTURE) if options.screen else None
        firmware = None
        if options.firmware == "uefi":
            code, variables = uefi()
            firmware = code, files.copy(variables, "variables.fd")

        def wire(control: int, console: int, agent: int) -> Wiring:
            return Wiring(
                disk=base.fileno(),
                format=facts.format,
                overlay=overlay.fileno(),
                more=tuple(each.fileno() for each in more),
                volumes=tuple((each.fileno(), serial) for each, serial in volumes),
                control=control,
                console=console,
                agent=agent,
                picture=picture.fileno() if picture else None,
                uefi=(firmware[0], firmware[1].fileno()) if firmware else None,
            )

        stop.check()
        machine, agent = stack.enter_context(running(options, wire, folder / CONSOLE, stop, on_line))
        guest = Guest(machine, options, folder, agent, picture)
        stack.callback(guest.close)
        yield guest


class _Files:
    """The files of a machine, opened until it ends."""

    def __init__(self, stack: contextlib.ExitStack, folder: Path) -> None:
        self._stack, self._folder = stack, folder

    def read(self, path: Path) -> IO[bytes]:
        # Without waiting, where it is a pipe.
        return self._open(path, os.O_RDONLY | os.O_NONBLOCK)

    def open_volume(self, path: Path) -> IO[bytes]:
        return self._open(path, os.O_RDWR | os.O_NONBLOCK)

    def write(self, name: str) -> IO[bytes]:
        return self._open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)

    def overlay(self, size: int) -> IO[bytes]:
        """An empty disk. It names none below it: QEMU is told."""
        done = run(
            [program("qemu-img"), "create", "-q", "-f", "qcow2", "overlay.qcow2", str(size)], cwd=self._folder
        )
        if done.status:
            raise BuildFailed(
                f"can't make a disk of {size} bytes in {self._folder}: {done.stderr.strip()}",
                hint="free some space there, then try again",
            )
        return self._open(self._folder / "overlay.qcow2", os.O_RDWR)

    def copy(self, source: Path, name: str) -> IO[bytes]:
        try:
            (self._folder / name).write_bytes(source.read_bytes())
        except OSError as error:
            raise disk_error(error, self._folder / name) from None
        return self._open(self._folder / name, os.O_RDWR)

    def _open(self, path: Path, flags: int) -> IO[bytes]:
        writes = flags & (os.O_WRONLY | os.O_RDWR)
        mode = {0: "rb", os.O_WRONLY: "wb", os.O_RDWR: "r+b"}[writes]
        try:
            opened = os.fdopen(os.open(path, flags | os.O_CLOEXEC, 0o600), mode, 0)
        except OSError as error:
            if writes:
                raise disk_error(error, path) from None
            raise BuildFailed(
                f"{path} can't be read: {error.strerror}", hint="build it, or make it readable"
            ) from None
        return self._stack.enter_context(opened)


@contextlib.contextmanager
def _private_folder(scratch: Path) -> Iterator[Path]:
    try:
        folder = Path(tempfile.mkdtemp(prefix="guest-", dir=scratch))
    except OSError as error:
        raise disk_error(error, scratch) from None
    try:
        yield folder
    finally:
        remove_tree(folder)
