"""Remove what runs that were killed left behind.

A build holds the lock of its target for as long as it lives, and the kernel drops the lock when it dies:
whatever belongs to a target whose lock is free was abandoned.
"""

from __future__ import annotations

from imagefactory.drive.session import Session
from imagefactory.model.target import TargetId
from imagefactory.system.files import remove_tree
from imagefactory.system.records import homes
from imagefactory.targets.kind import Swept


def sweep(session: Session) -> None:
    """Remove abandoned containers, candidates and files of this checkout."""
    for name, kind in session.kinds.items():
        if not isinstance(kind, Swept):
            continue
        for image in set(kind.left_behind()):
            with session.record(TargetId(name, image)).if_free() as free:
                if free:  # look again: with the lock held, nobody adds to it
                    kind.sweep(kind.left_behind().get(image, ()))
    sweep_files(session)


def sweep_files(session: Session) -> None:
    """Remove abandoned files, and ask no engine."""
    for home in homes(session.workspace):
        for desk in (home, *home.records()):
            if desk.abandoned():
                with desk.if_free() as free:
                    for path in desk.abandoned() if free else ():
                        remove_tree(path)
