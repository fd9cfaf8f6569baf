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
    images = set(backend.left_behind())
    for image in images:
        with record_of(workspace, image).if_free() as free:
            if free:  # look again: with the lock held, nobody adds to it
                backend.sweep(backend.left_behind().get(image, ()))
    for folder in (*workspace.build.glob("*"), *(workspace.build / BASES).glob("*")):
        record = Record(folder)
        if record.abandoned():
            with record.if_free() as free:
                for path in record.abandoned() if free else ():
                    remove_tree(path)
