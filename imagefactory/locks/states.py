"""Which locks there are, and whether they still answer what is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from imagefactory.locks import base_lock_file, base_request, image_request, lock_file, read_locks
from imagefactory.model.lock import Lock
from imagefactory.model.spec import BaseDefinition, ImageDefinition
from imagefactory.system.site import Site
from imagefactory.system.workspace import Workspace


@dataclass(frozen=True, slots=True)
class LockState:
    """A lock, if there is one, and why it must be made (again); an empty reason for a good one.

    ``request`` is the digest of what is asked for now; empty where that cannot be told yet.
    """

    lock: Lock | None
    reason: str
    request: str = ""

    @property
    def good(self) -> Lock | None:
        """The lock where it is good."""
        return None if self.reason else self.lock


def base_lock_state(workspace: Workspace, base: BaseDefinition, site: Site) -> LockState:
    """The lock of a base image. Raises BadFiles."""
    name = base.base.name
    lock = read_locks(workspace, base_lock_file(workspace, name), base.platform).get(name)
    request = base_request(base)
    if lock is None:
        return LockState(None, f"base image {name} is not locked yet", request)
    if lock.request != request:
        return LockState(lock, f"base image {name} changed since it was locked", request)
    if lock.stand_ins and not site.settings.stand_ins:
        return LockState(None, f"base image {name} is locked with stand-ins", request)
    return LockState(lock, "", request)


def image_lock_state(
    workspace: Workspace, image: ImageDefinition, base: BaseDefinition, site: Site
) -> LockState:
    """The lock of an image. Raises BadFiles."""
    lock = read_locks(workspace, lock_file(workspace, image.recipe), base.platform).get(image.id)
    of_base = base_lock_state(workspace, base, site)
    if of_base.good is None:
        return LockState(lock, of_base.reason)
    request = image_request(image, base, of_base.good, site)
    if lock is None:
        return LockState(None, "its inputs are not locked yet", request)
    if lock.request != request:
        return LockState(lock, "its inputs, or its base image's, changed since they were locked", request)
    if lock.stand_ins and not site.settings.stand_ins:
        return LockState(None, "it is locked with stand-ins", request)
    return LockState(lock, "", request)
