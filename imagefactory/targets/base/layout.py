"""An OCI image layout, read by who does not believe it: whole, and of one image."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imagefactory.system.store import file_sha256

_MOST = 16 << 20  # bytes of what is read as a whole
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def layout_files(layout: Path, digest: str, size: int) -> list[Path]:
    """The files of the layout's one image, which has that digest and layers of so many bytes.

    Each blob is what its name says, and as long as is said of it. Raises ValueError with what is wrong.
    """
    index, head = layout / "index.json", layout / "oci-layout"
    _document(head)
    entries = _document(index).get("manifests")
    if not isinstance(entries, list) or len(entries) != 1:
        raise ValueError("its index does not name one image")
    manifest = _blob(layout, entries[0])
    if f"sha256:{manifest.name}" != digest:
        raise ValueError(f"its index names another image than {digest!a}")
    described = _document(manifest)
    layers = described.get("layers")
    if not isinstance(layers, list) or not layers:
        raise ValueError("its manifest names no layers")
    blobs = [manifest, *(_blob(layout, part) for part in (described.get("config"), *layers))]
    if size != sum(layer["size"] for layer in layers):
        raise ValueError("its layers are not as long as its report says")
    return [head, index, *dict.fromkeys(blobs)]


def _document(file: Path) -> Mapping[str, Any]:
    try:
        with file.open("rb") as content:
            document = json.loads(content.read(_MOST + 1)[:_MOST])
    except (OSError, ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise ValueError(f"{file.name} cannot be read")
    return document


def _blob(layout: Path, entry: Any) -> Path:
    """What an entry describes, which is there and is that."""
    digest = entry.get("digest") if isinstance(entry, dict) else None
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise ValueError("it names a blob by what is no sha256")
    file = layout / "blobs" / digest.replace(":", "/")
    try:
        length, found = file.stat().st_size, f"sha256:{file_sha256(file)}"
    except OSError as error:
        raise ValueError(f"the blob {digest} cannot be read: {error.strerror}") from None
    if found != digest:
        raise ValueError(f"the blob {digest} is not what was made")
    if type(entry.get("size")) is not int or entry["size"] != length:
        raise ValueError(f"the blob {digest} is not as long as is said of it")
    return file
