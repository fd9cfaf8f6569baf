"""Upstream sources: an archive by its sha256, or a git repository by its commit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from imagefactory.errors import BuildFailed
from imagefactory.inputs.protocol import Means, Origin, Staged, Wanted
from imagefactory.model.lock import SourceFile, Stage
from imagefactory.model.recipe import Source
from imagefactory.model.spec import ImageDefinition


class Sources:
    """Sources: they stand at ``/sources/<name>/`` for install.sh."""

    name = "sources"

    def lock(self, wanted: Wanted, means: Means) -> Mapping[Stage, Sequence[SourceFile]]:
        """The recipe pins them, so that no upstream is asked."""
        stages: dict[Stage, list[SourceFile]] = {"image": [], "build": []}
        for stage, name, source in _declared(wanted.image):
            stand_in = means.site.stand_in(source.address)
            pinned = SourceFile(
                name=name,
                version=_version(source),
                file=source.address.rpartition("/")[2] or name,
                sha256=(stand_in and stand_in.sha256) or source.sha256 or "",
                commit=(stand_in and stand_in.commit) or source.commit,
                stand_in=stand_in is not None,
            )
            stages[stage].append(pinned)
        return stages

    def fetch(self, file: SourceFile, what: str, origin: Origin, means: Means) -> str:
        """From upstream, or from the first mirror of the recipe that has it."""
        from imagefactory.inputs.source_files import fetch_archive, store_tree  # start slowly

        assert origin.image
        source = next(source for _, name, source in _declared(origin.image) if name == file.name)
        if not file.commit:
            fetch_archive(source, file, what, means)
            return file.sha256
        actual = store_tree(source, file, what, means)
        if file.sha256 and actual != file.sha256:
            raise BuildFailed(
                f"{what}: the tree of commit {file.commit} has sha256 {actual}, and {file.sha256} was noted",
                hint=f"find out why, before you remove that from recipes/{origin.image.recipe}/fetched.yaml",
            )
        return actual

    def stage(self, file: SourceFile) -> Staged:
        """An archive stands in its folder as it is; a commit's tree is the folder."""
        if file.commit:
            return Staged(f"sources/{file.name}", file.sha256, unpack=True)
        return Staged(f"sources/{file.name}/{file.filename}", file.sha256)

    def install(self, files: Sequence[SourceFile], image: ImageDefinition, stage: Stage) -> str:
        """Nothing: install.sh does that."""
        return ""

    def install_unpinned(self, image: ImageDefinition, stage: Stage) -> str:
        """Nothing, as well: the recipe pins them."""
        return ""


def _declared(image: ImageDefinition) -> Iterator[tuple[Stage, str, Source]]:
    yield from (("image", name, source) for name, source in image.inputs.sources.items())
    if image.build_inputs:
        yield from (("build", name, source) for name, source in image.build_inputs.sources.items())


def _version(source: Source) -> str:
    """A commit's first letters, or what in an archive's name looks like a version."""
    if source.commit:
        return source.commit[:12]
    match = re.search(r"\d+(?:[._-]\d+)*", source.address.rpartition("/")[2])
    return match[0] if match else (source.sha256 or "")[:12]
