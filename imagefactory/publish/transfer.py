"""The bytes of an image, there and back: sent in the way that a cloud takes them, and verified."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from typing import Any

from imagefactory.errors import BuildFailed, Gone, NetworkFault
from imagefactory.publish.answers import Refused
from imagefactory.publish.cloud import Cloud
from imagefactory.publish.content import PIECE, Content, OnProgress, Pieces

IMPORT = "glance-direct"
"""The import of what was sent to a staging area first."""
WORK_SECONDS = 3600.0
"""As long as a cloud may work on what it has got."""
POLL_SECONDS = 1.0
EARLY = 64 << 20
"""Bytes that may be on the way before an answer to the first one comes."""
_AT_WORK = ("saving", "uploading", "importing")


def send(cloud: Cloud, id: str, content: Content, on_progress: OnProgress) -> str:
    """Send the file in the way that the cloud takes it; the sha512 of what was sent."""
    pieces = content.pieces(on_progress)
    try:
        return _put(cloud, f"/images/{id}/file", pieces)
    except (Refused, Gone):
        if not _can_import(cloud, id):
            raise
    except NetworkFault:
        # Whoever refuses at once may close the connection before we hear of it.
        if pieces.went > EARLY or not _can_import(cloud, id):
            raise
    sha512 = _put(cloud, f"/images/{id}/stage", content.pieces(on_progress))
    cloud.post(f"/images/{id}/import", {"method": {"name": IMPORT}})
    return sha512


def download_digest(cloud: Cloud, id: str, on_progress: OnProgress = lambda done, total: None) -> str:
    """The sha512, in hexadecimal, of what the cloud gives out as this image. Nothing is kept of it.

    Raises Interrupted, and BuildFailed or a kind of it.
    """
    found, came = hashlib.sha512(), 0
    total = int(cloud.get(f"/images/{id}").get("size") or 0)
    for piece in cloud.pieces(f"/images/{id}/file", PIECE):
        found.update(piece)
        came += len(piece)
        on_progress(came, total)
    if came != total:
        raise BuildFailed(f"{cloud.shown} sends {came} of the {total} bytes of image {id}")
    return found.hexdigest()


def _put(cloud: Cloud, path: str, pieces: Pieces) -> str:
    try:
        cloud.put(path, pieces, len(pieces))
    finally:
        pieces.end()
    return pieces.sha512


def _can_import(cloud: Cloud, id: str) -> bool:
    """Whether the image waits for its bytes, and the cloud takes them by way of a staging area."""
    if cloud.get(f"/images/{id}")["status"] != "queued":
        return False
    try:
        methods = cloud.get("/info/import")["import-methods"]["value"]
    except Gone:  # older than such imports
        return False
    return IMPORT in methods


def await_active(cloud: Cloud, id: str) -> dict[str, Any]:
    """The image, once the cloud has done its work on it."""
    end = time.monotonic() + WORK_SECONDS
    while True:
        image: dict[str, Any] = cloud.get(f"/images/{id}")
        if image["status"] == "active":
            return image
        reason = _failure(cloud, id)
        if reason or image["status"] not in _AT_WORK:
            raise BuildFailed(f"{cloud.shown} did not take the image: {reason or image['status']}")
        if time.monotonic() > end:
            raise BuildFailed(f"{cloud.shown} is still {image['status']} after {WORK_SECONDS:.0f} seconds")
        cloud.stop.wait(POLL_SECONDS)
        cloud.stop.check()


def _failure(cloud: Cloud, id: str) -> str:
    """Why an import failed; nothing where none did. The image itself does not say so."""
    try:
        tasks = cloud.get(f"/images/{id}/tasks")["tasks"]
    except (Gone, Refused):
        return ""
    return next((str(task["message"] or "failed") for task in tasks if task["status"] == "failure"), "")


def verify(cloud: Cloud, image: Mapping[str, Any], size: int, sha512: str) -> None:
    """Raises BuildFailed where the cloud holds other bytes than those that were sent."""
    # Sites may choose another algorithm: then what the cloud gives out is read.
    is_told = image.get("os_hash_algo") == "sha512"
    there = str(image["os_hash_value"]) if is_told else download_digest(cloud, image["id"])
    if image["size"] != size or there != sha512:
        raise BuildFailed(
            f"{cloud.shown} holds other bytes than were sent: {image['size']} with the sha512 {there[:16]}…,"
            f" expected {size} with {sha512[:16]}…",
            hint="the image was removed there; look for a proxy on the way that changes what is sent",
        )
