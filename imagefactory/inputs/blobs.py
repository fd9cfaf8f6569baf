"""Parts of upstream images, and disks of machines, which base images are taken from as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from imagefactory.errors import BuildFailed
from imagefactory.inputs.protocol import Means, Origin, Staged, Wanted
from imagefactory.model.expected import Expected
from imagefactory.model.lock import BlobFile, Stage
from imagefactory.model.spec import ImageDefinition


class Blobs:
    """Parts of upstream images, which only base images have."""

    name = "blobs"

    def lock(self, wanted: Wanted, means: Means) -> Mapping[Stage, Sequence[BlobFile]]:
        """Nothing: no image asks for any."""
        return {}

    def fetch(self, file: BlobFile, what: str, origin: Origin, means: Means) -> str:
        """From the registry, or the site's mirrors of it; a disk from where it is published."""
        from imagefactory.inputs.disk import fetch_disk  # starts slowly, as the next does
        from imagefactory.inputs.registry import fetch_blob, parse_reference

        if disk := origin.base.base.disk:
            fetch_disk(disk, file, what, means)
            return file.sha256
        upstream = origin.base.base.upstream
        if not upstream:
            raise BuildFailed(f"{what}: its base image is not taken from a registry")
        fetch_blob(parse_reference(upstream), file.file, Expected(what, file.sha256, file.bytes), means)
        return file.sha256

    def stage(self, file: BlobFile) -> Staged:
        """All in one folder, as in an OCI image layout."""
        return Staged(f"blobs/sha256/{file.sha256}", file.sha256)

    def install(self, files: Sequence[BlobFile], image: ImageDefinition, stage: Stage) -> str:
        """Nothing installs them."""
        return ""

    def install_unpinned(self, image: ImageDefinition, stage: Stage) -> str:
        """Nor this way."""
        return ""
