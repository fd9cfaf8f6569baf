"""A VM base that others publish: one file, known by its sha512 until it is here."""

from __future__ import annotations

from imagefactory.errors import BuildFailed, Gone
from imagefactory.inputs.mirrors import fetch_any, from_mirrors
from imagefactory.inputs.protocol import Means
from imagefactory.model.expected import Expected
from imagefactory.model.lock import BlobFile, Lock, StageLock
from imagefactory.model.recipe import BaseImage, PublishedDisk
from imagefactory.system.site import Address
from imagefactory.system.store import file_sha256

DISK = "disk"
_MOVED = (
    "what is published there has moved on: write its address and its sha512 of today into the base's file"
)


def lock_disk(base: BaseImage, request: str, means: Means) -> Lock:
    """The file, fetched. Raises BuildFailed, or a kind of it, also where it is no whole qcow2 file."""
    from imagefactory.guest import file_facts  # a room that only work enters

    assert base.disk
    disk, what = base.disk, f"base_images/{base.name}: {base.disk.filename}"
    means.log.step(f"fetch {disk.filename}")

    def get(address: Address) -> BlobFile:
        with means.store.draft(disk.sha512) as draft:
            expected = Expected(what, "", sha512=disk.sha512)
            means.web.download(address.url, draft, expected, means.on_bytes)
            if file_facts(draft, what).format != "qcow2":
                draft.unlink()
                raise BuildFailed(
                    f"{what}: it is no qcow2 file", hint="choose the qcow2 file that is published"
                )
            sha256, size = file_sha256(draft), draft.stat().st_size
            means.store.take(draft, sha256)
        return BlobFile(
            name=DISK, version=f"sha512:{disk.sha512[:12]}", file=disk.filename, bytes=size, sha256=sha256
        )

    try:
        file = from_mirrors(means.site.addresses(disk.url), get, means)
    except Gone as error:
        error.hint = _MOVED
        raise
    return Lock(request=request, image=StageLock(blobs=(file,)))


def fetch_disk(disk: PublishedDisk, file: BlobFile, what: str, means: Means) -> None:
    """Have the store hold it, as it is locked. Raises BuildFailed, or a kind of it."""
    try:
        fetch_any((disk.url,), Expected(what, file.sha256, file.bytes), means)
    except Gone as error:
        error.hint = _MOVED
        raise
