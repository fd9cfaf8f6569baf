"""Upstream sources into the store: an archive as it is, a commit's tree as an archive of it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from imagefactory.inputs.git import tree_archive
from imagefactory.inputs.mirrors import fetch_any, from_mirrors
from imagefactory.inputs.protocol import Means
from imagefactory.model.expected import Expected
from imagefactory.model.lock import SourceFile
from imagefactory.model.recipe import Source
from imagefactory.system.site import Address
from imagefactory.system.store import file_sha256


def _places(source: Source, means: Means) -> list[Address]:
    """Upstream and the recipe's mirrors, each as the site reaches it."""
    return [place for url in (source.address, *source.mirrors) for place in means.site.addresses(url)]


def fetch_archive(source: Source, file: SourceFile, what: str, means: Means) -> None:
    expected = Expected(what, file.sha256, file.bytes or None)
    if means.store.has(file.sha256):
        return
    fetch_any((source.address, *(() if file.stand_in else source.mirrors)), expected, means)


def store_tree(source: Source, file: SourceFile, what: str, means: Means) -> str:
    """Have the store hold the tar archive of a commit's tree; its sha256."""
    assert file.commit
    assert source.git
    commit, repository = file.commit, source.git

    def get(address: Address) -> str:
        # git works by paths, which in a store that others may write to could be led elsewhere.
        with tempfile.TemporaryDirectory(dir=means.scratch, prefix="git-") as folder:
            archive = Path(folder) / "tree.tar"
            tree_archive(repository, address.url, commit, what, archive, means)
            digest = file_sha256(archive)
            with means.store.tray() as tray:
                shutil.move(archive, tray / digest)
                means.store.take(tray / digest, digest)
        means.on_bytes(means.store.size(digest))
        return digest

    return from_mirrors(_places(source, means), get, means)
