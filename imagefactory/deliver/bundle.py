"""Bundles: all that builds some images, in one file, for a machine without any network.

A bundle is a tar archive of a small checkout: recipes, base images' files, locks and OCI layouts, rendered
contexts, and under ``store/`` every input. ``bundle.json`` holds what git would tell about them.
"""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from imagefactory.deliver.contents import FORMAT, STORE, contents_of
from imagefactory.deliver.tape import flaw_in, shown
from imagefactory.errors import BadInput, disk_error
from imagefactory.model.spec import ImageDefinition
from imagefactory.plan import Resolver
from imagefactory.system.files import make_folder
from imagefactory.system.history import BUNDLE_FILE
from imagefactory.system.reading import Reading
from imagefactory.system.records import BUNDLES
from imagefactory.system.store import Store
from imagefactory.system.workspace import Workspace
from imagefactory.targets.register import Kinds


def write_bundle(
    workspace: Workspace,
    resolver: Resolver,
    kinds: Kinds,
    store: Store,
    images: Iterable[ImageDefinition],
    file: Path,
) -> int:
    """Write the bundle of images that are locked and fetched, on base images that are made; its bytes.

    The file is there at once or not at all. Raises BuildFailed or a kind of it, and BadInput.
    """
    images = list(images)
    make_folder(file.parent)
    draft = file.with_name(f".{file.name}.draft")
    contents = contents_of(workspace, resolver, kinds, images)
    about = {
        "format": FORMAT,
        "images": [image.selector for image in images],
        "standing": contents.standing,
    }
    try:
        with tarfile.open(draft, "w", format=tarfile.PAX_FORMAT) as archive:
            _add_data(archive, BUNDLE_FILE, json.dumps(about, indent=2).encode() + b"\n")
            for name, source in contents.files.items():
                with source.open("rb") as content:
                    facts = source.stat()
                    mode = 0o755 if facts.st_mode & 0o100 else 0o644
                    _add(archive, name, facts.st_size, content, mode)
            for name, data in contents.rendered.items():
                _add_data(archive, name, data)
            for sha256 in sorted({*contents.inputs, *filter(store.has, contents.data)}):
                with store.opened(sha256, "an input for the bundle") as stored:
                    _add(archive, f"{STORE}/{sha256}", stored.bytes, stored)
        size = draft.stat().st_size
        draft.replace(file)
    except OSError as error:
        raise disk_error(error, file) from None
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
    return size


def default_name(images: Iterable[ImageDefinition], resolver: Resolver, workspace: Workspace) -> Path:
    """Where a bundle of images that are locked goes unless told otherwise."""
    images = [resolver.stated(image) for image in images]
    name = images[0].selector if len(images) == 1 else images[0].recipe
    return workspace.build / BUNDLES / f"{name}-{images[0].version}.bundle.tar"


def _add_data(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    _add(archive, name, len(data), io.BytesIO(data))


def _add(
    archive: tarfile.TarFile, name: str, size: int, content: IO[bytes] | Reading, mode: int = 0o644
) -> None:
    """A file with nothing of this machine: no owner, no times."""
    if flaw := flaw_in(name):
        raise BadInput(f"a bundle cannot hold {shown(name)}, {flaw}", hint="rename it")
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, mode
    archive.addfile(member, content)
