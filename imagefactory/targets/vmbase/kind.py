"""VM bases: what the graph knows of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import ClassVar

from imagefactory.model.lock import Lock
from imagefactory.model.recipe import Needs
from imagefactory.model.report import Report
from imagefactory.model.spec import Artifact, BaseDefinition, BaseSpec, File, TestedArtifact
from imagefactory.model.target import Description, Room, Target, TargetId
from imagefactory.system.workspace import Workspace
from imagefactory.targets.common.as_file import AsFile, moved
from imagefactory.targets.kind import Job

DISK = "disk.qcow2"
_TIMES_ITS_PACKAGES = 4  # the disk that the file, and the packages as they are laid out, take
_TIMES_IN_MEMORY = 12  # the tree, and the disk that is made of it
_MEMORY = 512 << 20
_LEFT_OUT = {"name", "vm", "like", "components", "upstream", "published"}


class VmBaseKind(AsFile):
    """VM bases, each a qcow2 file."""

    name: ClassVar[str] = "vmbase"

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def needs(self, name: str, base: BaseDefinition | None, wants: Needs) -> tuple[TargetId, ...]:
        """Nothing."""
        return ()

    def describe(self, spec: BaseSpec) -> Description:
        """Its file, date, platform, packages and settings, and how it is made; or which disk it is."""
        if spec.base.base.disk:
            return Description({"inputs": spec.lock.digest, "platform": spec.platform}, ())
        from imagefactory.targets.vmbase.system import maker, system_files

        contents = system_files(spec)
        return Description(
            {
                **spec.base.base.model_dump(mode="json", exclude=_LEFT_OUT),
                **({"components": list(spec.base.base.components)} if spec.base.base.components else {}),
                "apt packages": spec.lock.system_packages,
                "private packages": {file.name: file.version for file in spec.lock.tools.apt},
                "inputs": spec.lock.digest,
                "platform": spec.platform,
                "date": spec.epoch,
                "settings": {file.path: hashlib.sha256(file.data).hexdigest() for file in contents},
                "maker": maker(spec),
            },
            contents,
        )

    def render(self, target: Target, needs: Mapping[str, Target]) -> tuple[File, ...]:
        """None: elsewhere any image of a machine takes its place."""
        return ()

    def inputs(self, target: Target) -> Lock | None:
        """Its packages."""
        return target.spec.lock

    def memory(self, target: Target) -> int:
        """Its tree and its disk, for a sandbox's files are in memory."""
        lock = target.spec.lock
        return _MEMORY if lock.image.blobs else _MEMORY + _TIMES_IN_MEMORY * lock.size

    def room(self, target: Target, last: Report | None) -> Room:
        """Disk for its packages and itself; a newer one takes the place of the last."""
        lock, build = target.spec.lock, str(self._workspace.build)
        disk = lock.size if lock.image.blobs else _TIMES_ITS_PACKAGES * lock.size
        return Room(
            memory=self.memory(target),
            disk={build: disk},
            stays={} if last else {build: min(disk, 2 * lock.size)},
        )

    def engines(self) -> Mapping[str, str]:
        """Versions of mmdebstrap and bubblewrap. Raises EngineError."""
        from imagefactory.inputs.debian import mmdebstrap_version
        from imagefactory.sandbox import sandbox_version

        return {"mmdebstrap": mmdebstrap_version(), "bubblewrap": sandbox_version()}

    def make(self, job: Job) -> Artifact:
        """A candidate in the scratch folder. Raises BuildFailed, or a kind of it."""
        from imagefactory.targets.vmbase.make import make_disk
        from imagefactory.targets.vmbase.take import take_disk

        assert isinstance(job.target.spec, BaseSpec)
        if job.target.spec.base.base.disk:
            return take_disk(job.target.spec, job.scratch / DISK, job.means)
        return make_disk(job.target.spec, job.scratch / DISK, job.means)

    def keep(self, job: Job, artifact: TestedArtifact) -> Artifact:
        """Have it take the last one's place."""
        file = job.record.shelf / DISK
        return moved(artifact, file)
