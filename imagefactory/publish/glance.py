"""Images of virtual machines into a cloud's image service, Glance: whole and verified, or not at all.

An image under way has a tag of ours, and a property that says which process makes it. So what a killed one
left is known, and goes when an image of the same name is uploaded next. It is private until it is verified.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from imagefactory.errors import BuildFailed, FactoryError, Gone
from imagefactory.publish.answers import Refused
from imagefactory.publish.cloud import Cloud
from imagefactory.publish.content import Content, DiskFormat, OnProgress
from imagefactory.publish.marks import MARK, UPLOADING, is_abandoned, own_mark
from imagefactory.publish.properties import check_properties
from imagefactory.publish.transfer import await_active, send, verify
from imagefactory.system.retry import on_network_fault

PAUSE = 0.5
"""Seconds after which a removal is tried again; the next pause is longer."""
Visibility = Literal["private", "shared", "community", "public"]


@dataclass(frozen=True, slots=True)
class Uploaded:
    """An image that is in the cloud, active and verified. ``sha512`` is of its file, in hexadecimal.
    ``was_there``: nothing was sent.
    """

    id: str
    name: str
    sha512: str
    bytes: int
    was_there: bool = False


def upload(
    cloud: Cloud,
    file: Path,
    disk_format: DiskFormat,
    name: str,
    properties: Mapping[str, str | int],
    tags: Iterable[str] = (),
    visibility: Visibility = "private",
    on_progress: OnProgress = lambda done, total: None,
) -> Uploaded:
    """Have an image of that name, file and properties in the project that we are logged in to.

    An active image of the project with this name and these bytes stays, and gets the properties, tags and
    visibility. Others of this name are left as they are. Whatever fails, and on a stop or an interrupt,
    nothing new is left. Raises Interrupted, BadInput, and BuildFailed or a kind of it.
    """
    tags = tuple(tags)
    check_properties({"name": name, **{f"tag {tag}": tag for tag in tags}, **properties})
    with Content(file, disk_format) as content:
        found = list(_named(cloud, name))
        there = _same(cloud, content, found)
        for half in found:
            if half is not there and is_abandoned(half):
                _remove(cloud, half["id"])
        if there:
            image = _settle(cloud, there, properties, tags, visibility)
            return Uploaded(image["id"], name, image["os_hash_value"], content.bytes, was_there=True)
        id = str(uuid.uuid4())  # ours, so that it can be removed even where no answer comes
        try:
            about = {"name": name, "disk_format": disk_format, "container_format": "bare", **properties}
            _create(cloud, {**about, "id": id, "tags": [UPLOADING, *tags], MARK: own_mark()}, visibility)
            sha512 = send(cloud, id, content, on_progress)
            image = await_active(cloud, id)
            verify(cloud, image, content.bytes, sha512)
            _settle(cloud, image, properties, tags, visibility)
        except BaseException as error:
            _remove_half(cloud, id, error)
            raise
    return Uploaded(id, name, sha512, content.bytes)


def _named(cloud: Cloud, name: str) -> Iterator[dict[str, Any]]:
    """The project's images of that name, but hidden ones."""
    # With its operator, for what stands before a colon in a name would be taken for one.
    query = {"owner": cloud.project, "name": f"eq:{name}", "limit": "100"}
    while True:
        answer = cloud.get("/images", query)
        page = answer["images"]
        yield from (image for image in page if image["name"] == name and image["owner"] == cloud.project)
        if "next" not in answer:
            return
        query["marker"] = page[-1]["id"]


def _same(cloud: Cloud, content: Content, found: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """The image among them that is what would be sent."""
    active = [
        image
        for image in found
        if image["status"] == "active"
        and image["size"] == content.bytes
        and image.get("os_hash_algo") == "sha512"
        and (UPLOADING not in image["tags"] or is_abandoned(image))
    ]
    sha512 = content.sha512(cloud.stop) if active else ""
    return next((image for image in active if image["os_hash_value"] == sha512), None)


def _create(cloud: Cloud, about: Mapping[str, Any], visibility: Visibility) -> None:
    try:
        # As it will be, so that what the cloud does not allow is known before anything is sent.
        cloud.post("/images", {**about, "visibility": visibility})
    except Refused as error:
        raise _explained(error, visibility) from None
    if visibility != "private":
        _change(cloud, about["id"], {"visibility": "private"})


def _settle(
    cloud: Cloud,
    image: Mapping[str, Any],
    properties: Mapping[str, str | int],
    tags: tuple[str, ...],
    visibility: Visibility,
) -> dict[str, Any]:
    """Have an image that is verified be as it should be, for those who should see it."""
    kept = {tag for tag in image["tags"] if tag != UPLOADING}
    wanted = {**properties, "tags": sorted({*kept, *tags}), "visibility": visibility}
    image = {**image, "tags": sorted(image["tags"])}
    changes = {key: value for key, value in wanted.items() if image.get(key) != value}
    if not changes and MARK not in image:
        return image
    try:
        image = _change(cloud, image["id"], changes, [MARK] if MARK in image else [])
    except Refused as error:
        raise _explained(error, visibility) from None
    lost = [name for name, value in properties.items() if image.get(name) != value]
    if lost:
        raise BuildFailed(
            f"{cloud.shown} did not keep the properties {', '.join(lost)}",
            hint="ask who runs it which properties are protected",
        )
    return image


def _change(cloud: Cloud, id: str, changes: Mapping[str, Any], gone: Iterable[str] = ()) -> dict[str, Any]:
    # In Glance, "add" also replaces.
    steps = [{"op": "add", "path": f"/{_pointer(key)}", "value": value} for key, value in changes.items()]
    steps += [{"op": "remove", "path": f"/{_pointer(key)}"} for key in gone]
    image: dict[str, Any] = cloud.patch(f"/images/{id}", steps)
    return image


def _pointer(name: str) -> str:
    """A name in a path of JSON Pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def _explained(error: Refused, visibility: Visibility) -> FactoryError:
    """What it means that an image may not be made, or shown to others."""
    if visibility not in ("public", "community"):
        return error
    return Refused(
        f"{error.message} (the visibility asked for is {visibility})",
        hint="name another visibility: private, shared or community; mostly only administrators make public"
        " images",
    )


def _remove(cloud: Cloud, id: str) -> None:
    try:
        # Glance may stumble over an upload to it that is just ending.
        on_network_fault(lambda: cloud.delete(f"/images/{id}"), before_retry=lambda why: None, pause=PAUSE)
    except Gone:
        return


def _remove_half(cloud: Cloud, id: str, error: BaseException) -> None:
    """Remove what is there of an image; where that fails, say so with what went wrong before."""
    try:
        _remove(cloud, id)
    except FactoryError as why:
        if isinstance(error, FactoryError):
            left = f"half of image {id} may be left there ({why.message}): the next upload removes it"
            error.hint = f"{error.hint}\n{left}" if error.hint else left
