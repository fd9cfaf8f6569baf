"""A project image: a VM base, the payload, and Packer, which puts one into the other."""

from __future__ import annotations

import os
import stat
import time
from dataclasses import replace
from pathlib import Path

from imagefactory.errors import BuildFailed, disk_error
from imagefactory.guest import Seed, accelerator, file_facts, key_and_seed, processor
from imagefactory.model.spec import Artifact, BaseSpec, ImageSpec, Step
from imagefactory.system.files import remove_tree, write_files
from imagefactory.system.store import file_sha256
from imagefactory.targets.kind import Job, Kept
from imagefactory.targets.vm import packer
from imagefactory.targets.vm.facts import memory_mib
from imagefactory.targets.vm.payload import write_payload

_MIB = 1 << 20
_SPARE = 1 << 30
_TAIL_BYTES = 1 << 14


def make_image(job: Job, base: Kept, keep: Path) -> Artifact:
    """A candidate in the scratch folder, a qcow2 file. What is learnt of this machine is kept in ``keep``.

    Raises BuildFailed, or a kind of it; then nothing of it is left.
    """
    spec, log = job.target.spec, job.log
    assert isinstance(spec, ImageSpec)
    start = time.monotonic()
    log.step("pack what goes into the machine")
    payload = job.scratch / "payload.tar"
    write_payload(job, payload)
    packed = Step("pack what goes into the machine", round(time.monotonic() - start, 3))
    log.step_done(packed)
    found = accelerator(base.path, keep, job.scratch, job.stop)
    log.line(f"accelerator: {found.name}: {found.why}")
    folder = job.scratch / "packer"
    try:
        write_files(folder, [replace(f, path=f.path.removeprefix("vm/")) for f in job.target.contents])
        remove_tree(folder / "plugins")  # which this Packer may not know
        key = key_and_seed(Seed(hostname="imagefactory"), folder / "seed")
    except OSError as error:
        raise disk_error(error, folder) from None
    inputs = {"base": base.path, "payload": payload}
    variables = {
        "seed": "seed",
        "key": str(key.relative_to(folder)),
        "user": user_of(job),
        "out": "output",
        "disk": str(disk_mib(base, job)),
        "memory": str(memory_mib(spec)),
        "accelerator": found.name,
        "cpu": processor(found.name),
        "console": "console.log",
    }
    start = time.monotonic()
    kvm = found.name == "kvm"
    try:
        packer.build(folder, "qemu.vm", variables, inputs, job.scratch, log, job.stop, kvm=kvm)
    except BuildFailed as failed:
        if "ssh" in failed.message.lower():
            failed.tail = (*failed.tail, *_last_words(folder / "console.log"))
        raise
    built = Step("build with Packer", round(time.monotonic() - start, 3))
    log.step_done(built)
    payload.unlink()
    disk = taken(folder / "output" / "image.qcow2", job.scratch / "image.qcow2")
    return Artifact(f"sha256:{file_sha256(disk)}", disk.stat().st_size, (packed, built), path=str(disk))


def taken(written: Path, disk: Path) -> Path:
    """A disk that was written in the sandbox, ours now, at the place ``disk``. Whoever got out of a machine
    there could have written anything. Raises BuildFailed where it is no whole disk of one file.
    """
    try:
        found = written.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1 or written.parent.is_symlink():
            raise BuildFailed(f"{written} is no file of its own", hint="build it again")
        written.replace(disk)
        os.chown(disk, os.geteuid(), os.getegid(), follow_symlinks=False)
        disk.chmod(0o644)
    except OSError as error:
        raise BuildFailed(
            f"Packer wrote no disk: {error.strerror}: {written}", hint="build it again"
        ) from None
    if file_facts(disk, disk.name).format != "qcow2":
        raise BuildFailed(f"{disk} is no qcow2 file", hint="build it again")
    return disk


def _last_words(console: Path) -> list[str]:
    """What the machine said last on its serial line."""
    try:
        with os.fdopen(os.open(console, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            return file.read(_TAIL_BYTES).decode("utf-8", "replace").splitlines()[-20:]
    except OSError:
        return []


def user_of(job: Job) -> str:
    """The account that cloud-init makes in its VM base."""
    spec = job.needs["vmbase"].target.spec
    assert isinstance(spec, BaseSpec)
    assert spec.base.machine
    return spec.base.machine.user


def disk_mib(base: Kept, job: Job) -> int:
    """The size of its disk in MiB: what the base has, and what the application takes, packed and unpacked."""
    image, sif = job.needs["oci"].report, job.needs["sif"].report
    unpacked = 6 * image.bytes
    size = file_facts(base.path, base.report.file).virtual_size + unpacked + 2 * sif.bytes + _SPARE
    return -(-size // (1024 * _MIB)) * 1024
