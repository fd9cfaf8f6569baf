"""What kinds have in common whose targets are kept as one file each."""

from __future__ import annotations

from pathlib import Path

from imagefactory.errors import BuildFailed, disk_error
from imagefactory.model.spec import Artifact, ImageSpec
from imagefactory.targets.kind import Held, Kept
from imagefactory.targets.register import line


class AsFile:
    """Candidates stand in the scratch folder, and are moved to where they are kept."""

    def missing(self, kept: Kept) -> str:
        """Whether the file is there, and as large as it was."""
        whole = kept.path.is_file() and kept.path.stat().st_size == kept.report.bytes
        return "" if whole else f"{kept.report.file} is gone or not whole"

    def verify(self, kept: Kept) -> None:
        """Raises BuildFailed where the file is not the one that was tested."""
        from imagefactory.system.store import file_sha256

        sha256 = file_sha256(kept.path)
        kind = kept.target.id.kind
        asked = f" --format {kind}" if line(kind).asked else ""
        if f"sha256:{sha256}" != kept.report.digest:
            raise BuildFailed(
                f"{kept.path} is damaged: its sha256 is {sha256}, and another was tested",
                hint=f"remove it, then run imagefactory build {kept.target.spec.selector}{asked}",
            )

    def discard(self, artifact: Artifact) -> None:
        """A candidate goes with the scratch folder."""

    def frees(self, held: Held) -> int:
        """The size of the file."""
        return held.path.stat().st_size if held.path.is_file() else 0

    def remove(self, held: Held) -> None:
        """Remove the file."""
        held.path.unlink(missing_ok=True)


def stem_of(spec: ImageSpec) -> str:
    """How the name of an image's file begins; one that holds stand-ins says so."""
    if spec.lock.stand_ins:
        return f"{spec.name}-stand-in"
    return f"{spec.image.repository}-{spec.image.version}"


def moved(artifact: Artifact, file: Path) -> Artifact:
    """The artifact at another place, where it takes that of what was there, at once. Raises BuildFailed."""
    try:
        Path(artifact.path).replace(file)
    except OSError as error:
        raise disk_error(error, file) from None
    return Artifact(artifact.digest, artifact.bytes, artifact.steps, path=str(file))
