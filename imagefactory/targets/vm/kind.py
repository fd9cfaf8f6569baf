"""Project images: what the graph knows of them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from imagefactory.model.lock import Lock
from imagefactory.model.recipe import Needs
from imagefactory.model.report import Report, TestReport
from imagefactory.model.spec import Artifact, BaseDefinition, File, ImageSpec, TestedArtifact
from imagefactory.model.target import Description, Room, Target, TargetId
from imagefactory.system.workspace import Workspace
from imagefactory.targets.common.as_file import AsFile, moved, stem_of
from imagefactory.targets.kind import Held, Job, Kept, MachineFacts, Way, raw_of
from imagefactory.targets.vm.choice import chosen_base
from imagefactory.targets.vm.examples import examples_of
from imagefactory.targets.vm.facts import machine_files, machine_links, memory_mib, template_files
from imagefactory.targets.vm.growth import size_test

if TYPE_CHECKING:
    from imagefactory.targets.vm.subject import VmSubject

BUILDER = 1
"""Raised when the same things would be put into the machine in another way."""
CONTRACT = 2
"""Raised when a test is added or made stricter, so that images are tested again."""
_BASE, _IMAGE, _SIF = "vmbase", "oci", "sif"
_DISK_MIB = 10240  # of the template, where nobody says how large
_GROWN = 12 << 30
_LOGIN_SECONDS = 600.0


class VmKind(AsFile):
    """Project images, each a qcow2 file made of a VM base, an OCI image and a SIF file."""

    name: ClassVar[str] = "vm"

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def needs(self, name: str, base: BaseDefinition | None, wants: Needs) -> tuple[TargetId, ...]:
        """The VM base that its base image names for what it needs, the OCI image and the SIF file."""
        assert base
        vm_base = chosen_base(name, base.base, wants)
        return (TargetId(_BASE, vm_base), TargetId(_IMAGE, name), TargetId(_SIF, name))

    def describe(self, spec: ImageSpec) -> Description:
        """The template, what it runs, and the machine's own files; all else follows from what it needs."""
        template = template_files(spec, _DISK_MIB)
        files = (*template, *machine_files(spec))
        texts = {file.path: file.data.decode("utf-8", "replace") for file in files}
        data = {path: each.sha256 for path, each in examples_of(spec).items()}
        made_of = {"builder": BUILDER, "files": texts, "links": machine_links(spec), "examples": data}
        return Description(made_of, template)

    def test_facts(self, spec: ImageSpec) -> Sequence[Any]:
        """The contract."""
        return (CONTRACT,)

    def render(self, target: Target, needs: Mapping[str, Target]) -> tuple[File, ...]:
        """Packer's template, with the scripts that it runs."""
        return target.contents

    def inputs(self, target: Target) -> Lock | None:
        """None: what it is made of has them."""
        return None

    def memory(self, target: Target) -> int:
        """A machine's."""
        assert isinstance(target.spec, ImageSpec)
        return memory_mib(target.spec) << 20

    def room(self, target: Target, last: Report | None) -> Room:
        """Cores and memory of a machine, and disk for the payload and its own, as it is and compressed, which
        stays.
        """
        inputs, build = target.spec.lock.size, str(self._workspace.build)
        return Room(
            cores=min(2, os.cpu_count() or 1),
            memory=self.memory(target),
            disk={build: (5 << 30) + 8 * inputs},
            stays={} if last else {build: (1 << 30) + 2 * inputs},
        )

    def engines(self) -> Mapping[str, str]:
        """Versions of Packer and QEMU. Raises EngineError."""
        from imagefactory.guest import engine_versions
        from imagefactory.targets.vm.packer import packer_version

        return {"packer": packer_version(), **engine_versions()}

    def make(self, job: Job) -> Artifact:
        """A candidate in the scratch folder. Raises BuildFailed; then nothing of it is left."""
        from imagefactory.targets.vm.make import make_image

        return make_image(job, job.needs[_BASE], self._workspace.build)

    def pack(self, job: Job, file: Path) -> None:
        """The payload. Raises BuildFailed, or a kind of it; half of it may be left then."""
        from imagefactory.targets.vm.payload import write_payload

        write_payload(job, file)

    @contextlib.contextmanager
    def open(self, job: Job, artifact: Artifact) -> Iterator[VmSubject]:
        """A machine that booted from it, as somebody who logs in sees it; it ends with the block."""
        from imagefactory.guest import BootOptions, Seed, accelerator, boot
        from imagefactory.targets.vm.make import user_of
        from imagefactory.targets.vm.subject import VmSubject, scale_of

        assert isinstance(job.target.spec, ImageSpec)
        disk, user = Path(artifact.path), user_of(job)
        found = accelerator(disk, self._workspace.build, job.scratch, job.stop)
        options = BootOptions(
            seed=Seed(hostname="tested"),
            memory=memory_mib(job.target.spec) << 20,
            grow_to=_GROWN,
            accelerator=found.name,
            user=user,
        )
        launcher = f"/usr/local/bin/{job.target.spec.image.repository}-exec"
        with boot(disk, options, job.scratch, job.stop, job.log.line) as guest:
            seconds = guest.wait_for_ssh(_LOGIN_SECONDS)
            job.log.line(f"somebody could log in after {seconds:.0f} s")
            guest.run("cloud-init status --wait", timeout=_LOGIN_SECONDS)
            yield VmSubject(guest, disk, launcher, scale=scale_of(found.name))

    def ways(self, subject: VmSubject) -> Sequence[Way]:
        """Through the launchers: in Docker, and in Apptainer."""
        return (Way(subject), Way(subject.through("apptainer"), "apptainer", "in Apptainer"))

    def tests(self, job: Job, subject: VmSubject) -> Iterator[TestReport]:
        """How it boots, and what its disk holds."""
        from imagefactory.targets.vm.contract import boot_tests, cold_boot, cold_options, hygiene_tests

        digests = {kind: kept.report.digest for kind, kept in job.needs.items()}
        assert isinstance(job.target.spec, ImageSpec)
        desktop = job.target.spec.image.needs.desktop
        yield from boot_tests(subject.guest, digests, _GROWN, desktop=desktop)
        subject.guest.powerdown()
        disk, user = subject.disk, subject.guest.options.user
        options = cold_options(memory_mib(job.target.spec) << 20, subject.guest.options.accelerator, user)
        yield cold_boot(disk, options, job.scratch, job.stop, _LOGIN_SECONDS)
        yield from hygiene_tests(disk, job.needs[_BASE].path, job.scratch, job.stop, job.log)
        yield size_test(disk.stat().st_size, job.record.history().reports)

    def keep(self, job: Job, artifact: TestedArtifact) -> Artifact:
        """Give the file its name, at once."""
        spec, folder = job.target.spec, job.record.shelf
        assert isinstance(spec, ImageSpec)
        return moved(artifact, folder / f"{stem_of(spec)}-{job.target.input_digest[:12]}.qcow2")

    def machine(self, kept: Kept) -> MachineFacts:
        """What its report says it was made of, and what its application needs."""
        made_of = {need.kind: need for need in kept.report.needs}
        return MachineFacts(made_of[_BASE].id, made_of[_IMAGE].digest, self.memory(kept.target) >> 20)

    def write_raw(self, job: Job, kept: Kept) -> Artifact:
        """Write it uncompressed beside what is kept. Raises BuildFailed, or a kind of it."""
        from imagefactory.targets.vm.raw import write_raw

        return write_raw(job, kept)

    def frees(self, held: Held) -> int:
        """The size of the file, and of the raw one."""
        return super().frees(held) + (raw.stat().st_size if (raw := raw_of(held)) and raw.is_file() else 0)

    def remove(self, held: Held) -> None:
        """Remove the file, and the raw one."""
        if raw := raw_of(held):
            raw.unlink(missing_ok=True)
        super().remove(held)

    def set_aside(self, job: Job, artifact: Artifact) -> Artifact:
        """Move it to a place where no pattern takes it for a good one."""
        return moved(artifact, job.record.folder / "failed.qcow2")
