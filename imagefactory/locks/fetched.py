"""What only fetched sources tell, beside the lock that pins them: it changes no lock, and no image."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path

from imagefactory.errors import BadFiles
from imagefactory.model.lock import FetchedFile, FetchedFiles, SourceFile
from imagefactory.system.files import write_file
from imagefactory.system.fresh import Mark, mark_of
from imagefactory.system.workspace import Workspace
from imagefactory.yamlfiles import dump, load

Known = Mapping[str, FetchedFile]
"""By the commit, or else the sha256, that pins a source."""
_HEADING = (
    "Written by whoever fetches a source first: its size, and the sha256 of a commit's archive. "
    "Commit it with lock.yaml."
)


def fetched_file(workspace: Workspace, recipe: str) -> Path:
    """The file of a recipe, beside its lock."""
    return workspace.recipes / recipe / "fetched.yaml"


def read_fetched(workspace: Workspace, file: Path) -> Known:
    """What is known; nothing where there is no file. Raises BadFiles."""
    mark = mark_of(file)
    return _read_fetched(workspace, file, mark) if mark else {}


@functools.lru_cache(maxsize=64)
def _read_fetched(workspace: Workspace, file: Path, mark: Mark) -> Known:
    try:
        content = load(file, workspace.shown(file), FetchedFiles).model
    except BadFiles as error:
        error.hint = "mend it, or remove it: the next fetch writes it again"
        raise
    return {source.pin: source for source in content.sources}


def write_fetched(file: Path, known: Iterable[FetchedFile]) -> None:
    """Write what is known, by its pins."""
    rows = sorted(known, key=lambda source: source.pin)
    content = {
        "schema_version": 1,
        "sources": [source.model_dump(mode="json", exclude_none=True) for source in rows],
    }
    write_file(file, dump(content, _HEADING).encode())


def completed(source: SourceFile, known: Known) -> SourceFile:
    """A source with what is known of it."""
    told = known.get(source.pin)
    return source.model_copy(update={"bytes": told.bytes, "sha256": told.sha256}) if told else source
