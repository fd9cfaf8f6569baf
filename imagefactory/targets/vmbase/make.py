"""A VM base from locked packages: mmdebstrap makes the tree, its own programs the disk, all in a sandbox."""

from __future__ import annotations

import functools
import time
from pathlib import Path

from imagefactory.errors import disk_error
from imagefactory.inputs.asking import run_or_raise
from imagefactory.inputs.debian import LIMITS, bootstrap, bootstrap_failure, default_sources, with_components
from imagefactory.inputs.protocol import Means
from imagefactory.model.spec import Artifact, BaseSpec, Step
from imagefactory.sandbox import MANY, Errand
from imagefactory.system.files import write_files
from imagefactory.system.store import file_sha256
from imagefactory.targets.common.packages import REPOSITORY, remove_packages, stage_packages
from imagefactory.targets.vmbase.private import LAY_OUT, private_inputs
from imagefactory.targets.vmbase.system import (
    BIOS,
    DISK,
    SETTLE,
    named_packages,
    names_of,
    script,
    settle_script,
    system_files,
)

# Its settings are there before packages whose installation reads them: the kernel's, of its initramfs.
_COPY = 'cp -a --no-preserve=ownership /in/system/. "$1"'
_MAKE = """\
{repository}
{bootstrap}
rm -rf root/etc/apt/sources.list.d/* root/etc/apt/apt.conf.d/99mmdebstrap
printf '%s\\n' "$SOURCES" >root/etc/apt/sources.list
chroot root env -i PATH="$PATH" LANG=C.UTF-8 PACKAGES="$PACKAGES" sh -eu -s </in/{settle} 3>&-
find root/dev -mindepth 1 -delete
echo 'imagefactory: write the disk'
. /in/{disk}
qemu-img convert -f raw -O qcow2 -c -o compression_type=zstd out/disk.raw out/disk.qcow2
cat out/disk.qcow2 >&3
"""


def make_disk(spec: BaseSpec, disk: Path, means: Means) -> Artifact:
    """Make the VM base, from the store alone, as a new qcow2 file at ``disk``.

    Raises BuildFailed, or a kind of it.
    """
    base = spec.base.base
    name = f"bootstrap {base.release}"
    means.log.step(name)
    start = time.monotonic()
    try:
        private = private_inputs(spec, means)
        inputs = {**stage_packages(spec, means), **private}
        inputs["system"] = write_files(means.scratch / "system", system_files(spec))
        out = disk.open("xb")
    except OSError as error:
        raise disk_error(error, disk) from None
    inputs |= {part: script(part).encode() for part in (DISK, BIOS)}
    inputs[SETTLE] = settle_script(spec).encode()
    words = [
        "--format=directory",
        f"--include={','.join(file.name for file in spec.lock.image.apt)}",
        f"--essential-hook={_COPY}",
        *([f"--customize-hook={LAY_OUT}"] if private else []),
        *(base.release.suite, "root", "/job/sources.list"),
    ]
    made = bootstrap(base.model_copy(update={"packages": ()}), words)
    text = _MAKE.format(repository=REPOSITORY, bootstrap=made, settle=SETTLE, disk=DISK)
    environment = {
        "SUITE": base.release.suite,
        "SOURCES": "\n".join(
            with_components(line, base.components) for line in default_sources(base.release)
        ),
        "PACKAGES": "\n".join(named_packages(spec)),
        "SOURCE_DATE_EPOCH": str(spec.epoch),
        **names_of(spec),
    }
    errand = Errand(f"VM base {base.name}", text, inputs, environment, LIMITS, ids=MANY)
    with out:
        run_or_raise(errand, means, functools.partial(bootstrap_failure, base), out)
    remove_packages(means)
    step = Step(name, round(time.monotonic() - start, 3))
    means.log.step_done(step)
    return Artifact(f"sha256:{file_sha256(disk)}", disk.stat().st_size, (step,), path=str(disk))
