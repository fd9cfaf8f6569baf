"""QEMU's command line. All that a machine reads and writes are files that are open already: QEMU gets their
descriptors, and may open nothing but its own firmware.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagefactory.guest.options import BootOptions
from imagefactory.guest.seed import MAC

_LOOPBACK = "127.0.0.1"
# x86-64-v2, which every cloud has: what current Debian, EL 9 and common Python wheels are compiled for.
# More of it makes an emulated machine slower.
_CPU = "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,+cx16,+lahf-lm"
_TRANSLATED_MIB = 256  # of translated code, which an emulator keeps
_CONFINED = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"


@dataclass(frozen=True, slots=True)
class Wiring:
    """Descriptors: of the disk, its ``format``, and the overlay that takes what is written; of more disks,
    raw; of volumes, with their serials; of socket pairs' ends; of a file for pictures of the screen; of
    UEFI's variables, beside the path of its code.
    """

    disk: int
    format: str
    overlay: int
    more: tuple[int, ...]
    control: int
    console: int
    agent: int
    volumes: tuple[tuple[int, str], ...] = ()
    picture: int | None = None
    uefi: tuple[Path, int] | None = None

    def passed(self) -> tuple[int, ...]:
        """All of them."""
        some = (self.picture, self.uefi[1] if self.uefi else None)
        ends = (self.control, self.console, self.agent)
        disks = (self.disk, self.overlay, *self.more, *(number for number, _ in self.volumes))
        return (*disks, *ends, *(each for each in some if each is not None))


def set_path(number: int) -> str:
    """How QEMU names an open file."""
    return f"/dev/fdset/{number}"


def processor(accelerator: str) -> str:
    """The processor that a machine sees under an accelerator, as QEMU names it."""
    return "host" if accelerator == "kvm" else _CPU


def machine_words(program: str, options: BootOptions, wiring: Wiring) -> list[str]:
    """The words that start QEMU, to be run with the descriptors of ``wiring`` in reach."""
    words = [program, "-nodefaults", "-no-user-config", "-display", "none", "-sandbox", _CONFINED]
    words += ["-name", "imagefactory-guest", "-m", f"{options.memory >> 20}M", "-smp", str(options.cores)]
    machine = "pc"
    if options.accelerator == "kvm":
        words += ["-accel", "kvm"]
    else:
        words += ["-accel", f"tcg,thread=multi,tb-size={_TRANSLATED_MIB}"]
    words += ["-cpu", processor(options.accelerator)]
    if wiring.uefi:
        code, variables = wiring.uefi
        words += _node("code", "raw", filename=str(code), read_only=True)
        words += _set(variables) + _node("vars", "raw", filename=set_path(variables))
        machine += ",pflash0=code,pflash1=vars"
    words += ["-machine", machine, "-vga", "std" if options.screen else "none"]
    words += _disks(wiring)
    words += _network(options)
    words += ["-object", "rng-random,id=random,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=random"]
    words += ["-chardev", f"socket,id=control,fd={wiring.control}", "-mon", "chardev=control,mode=control"]
    words += ["-chardev", f"socket,id=console,fd={wiring.console}", "-serial", "chardev:console"]
    words += ["-chardev", f"socket,id=agent,fd={wiring.agent}", "-device", "virtio-serial-pci"]
    words += ["-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"]
    if wiring.picture is not None:
        words += _set(wiring.picture)
    return words


def _disks(wiring: Wiring) -> list[str]:
    """The overlay on the disk, to boot from, then the others, and what keeps what is written to it."""
    words = [*_set(wiring.disk), *_set(wiring.overlay)]
    words += _node("disk", wiring.format, filename=set_path(wiring.disk), read_only=True)
    words += _node("overlay", "qcow2", filename=set_path(wiring.overlay), backing="disk", discard="unmap")
    words += ["-device", "virtio-blk-pci,drive=overlay,bootindex=0"]
    for number, each in enumerate(wiring.more):
        words += _set(each) + _node(f"more{number}", "raw", filename=set_path(each), read_only=True)
        words += ["-device", f"virtio-blk-pci,drive=more{number}"]
    for number, (each, serial) in enumerate(wiring.volumes):
        words += _set(each) + _node(f"volume{number}", "raw", filename=set_path(each), discard="unmap")
        told = f",serial={serial}" if serial else ""
        words += ["-device", f"virtio-blk-pci,drive=volume{number}{told}"]
    return words


def _set(number: int) -> list[str]:
    return ["-add-fd", f"fd={number},set={number}"]


def _node(name: str, driver: str, *, filename: str, read_only: bool = False, **more: Any) -> list[str]:
    """A disk for QEMU, of a format that it does not guess. What a disk's header names as the rest of it is
    not opened.
    """
    file = {"driver": "file", "filename": filename, "node-name": f"{name}-file", "read-only": read_only}
    top = {"driver": driver, "file": f"{name}-file", "node-name": name, "read-only": read_only, **more}
    if driver == "qcow2":
        top.setdefault("backing", None)
    # What a machine wrote is thrown away: nothing waits until it is on the disk.
    cached = {"cache": {"no-flush": True}}
    return ["-blockdev", json.dumps({**file, **cached}), "-blockdev", json.dumps({**top, **cached})]


def _network(options: BootOptions) -> list[str]:
    """QEMU takes a port that is free, on loopback alone."""
    if options.network == "none":
        return ["-nic", "none"]
    closed = "off" if options.network == "outside" else "on"
    words = ["-netdev", f"user,id=net,ipv6=off,restrict={closed},hostfwd=tcp:{_LOOPBACK}:0-:22"]
    return [*words, "-device", f"virtio-net-pci,netdev=net,mac={MAC},romfile="]
