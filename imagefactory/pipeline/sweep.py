"""Remove what builds that were killed left behind.

A build holds the lock of its image for as long as it lives, and the kernel drops the lock when it
dies: whatever belongs to an image whose lock is free was abandoned.
"""

from __future__ import annotations

from imagefactory.backends.protocol import Backend
from imagefactory.records import BASES, Record, record_of, remove_tree
from imagefactory.workspace import Workspace


def sweep(workspace: Workspace, backend: Backend) -> None:
    """Remove abandoned containers, candidates and files of this checkout."""
    for image, leftovers in backend.left_behind().items():
        if not image or not record_of(workspace, image).is_locked():
            backend.sweep(leftovers)
    folders = [*workspace.build.glob("*"), *(workspace.build / BASES).glob("*")]
    for folder in folders:
        record = Record(folder)
        if record.abandoned() and not record.is_locked():
            for path in record.abandoned():
                remove_tree(path)
