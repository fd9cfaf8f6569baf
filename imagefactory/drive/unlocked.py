"""Which images are not locked for what is asked for now, why, and what locking them needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from imagefactory.drive.session import Session
from imagefactory.locks.upstreams import upstreams
from imagefactory.model.spec import ImageDefinition


@dataclass(frozen=True, slots=True)
class NotLockedYet:
    """Why an image is not locked, and which upstreams, beside the usual ones, must be reached to lock it."""

    reason: str
    needs: tuple[str, ...]

    def __str__(self) -> str:
        return self.reason + (f"; waits for {', '.join(self.needs)}" if self.needs else "")


def unlocked_images(session: Session, images: Iterable[ImageDefinition]) -> dict[str, NotLockedYet]:
    """By its identifier, every image that is not locked. Raises BadFiles."""
    found: dict[str, NotLockedYet] = {}
    for image in images:
        resolved = session.resolver.image(image)
        if resolved.state.reason:
            base = resolved.base.definition.base if resolved.base.spec is None else None
            found[image.id] = NotLockedYet(resolved.state.reason, upstreams(image, base))
        session.resolver.forget(image.id)  # thousands would not all fit into memory
    return found
