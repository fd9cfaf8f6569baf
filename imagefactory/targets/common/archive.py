"""OCI images as archives or layouts, read
(https://github.com/opencontainers/image-spec/blob/main/image-layout.md).
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from imagefactory.system.archives import Bounds, members, told

MAX_DOCUMENT_BYTES = 32 << 20
LAYER = Bounds(1 << 40)
"""Of one layer, unpacked: a machine that builds images has no room for more."""


class OciArchive:
    """One image in an OCI archive, or in the folder of a layout. A context manager: what it reads is open
    inside the block.
    """

    def __init__(self, place: Path | IO[bytes]) -> None:
        self._place: _Folder | _Archive
        self._place = _Folder(place) if isinstance(place, Path) and place.is_dir() else _Archive(place)
        self._digests: list[str] = []
        self._manifest = self._find_manifest()

    def __enter__(self) -> OciArchive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._place.close()

    @property
    def config(self) -> Mapping[str, Any]:
        """The image's configuration: ``architecture``, ``created``, ``config`` with ``Env``, ``Labels``."""
        config: Mapping[str, Any] = json.loads(self._blob_bytes(self._manifest["config"]["digest"]))
        return config

    @property
    def layers(self) -> list[str]:
        """The digests of the compressed layers, from the base up."""
        return [layer["digest"] for layer in self._manifest["layers"]]

    def open_layer(self, digest: str) -> IO[bytes]:
        """One layer as it is stored: a tar archive, compressed."""
        return self._place.open(_blob(digest))

    def read(self, path: str) -> bytes | None:
        """A file as the topmost layer has it that has it; None where none does."""
        for digest in reversed(self.layers):
            with self.open_layer(digest) as blob, told(digest):
                for layer, member in members(blob, digest, LAYER):
                    if member.isfile() and member.name.removeprefix("./") == path:
                        file = layer.extractfile(member)
                        return file.read(MAX_DOCUMENT_BYTES) if file else None
        return None

    def is_image(self, digest: str) -> bool:
        """Whether that is the digest of the image's manifest, or of an index that leads to it."""
        return digest in self._digests

    def _find_manifest(self) -> Any:
        """The manifest of the one image in the archive, indexes of indexes followed."""
        document = json.loads(self._document("index.json"))
        while "layers" not in document:
            digest = next(
                entry["digest"]
                for entry in document["manifests"]
                if "attestation-manifest" not in str(entry.get("annotations"))
            )
            self._digests.append(digest)
            document = json.loads(self._blob_bytes(digest))
        return document

    def _blob_bytes(self, digest: str) -> bytes:
        return self._document(_blob(digest))

    def _document(self, name: str) -> bytes:
        with self._place.open(name) as blob:
            return blob.read(MAX_DOCUMENT_BYTES)


class _Archive:
    """The files of a tar archive."""

    def __init__(self, file: Path | IO[bytes]) -> None:
        if isinstance(file, Path):
            self._tar = tarfile.open(file, "r:")  # noqa: SIM115  # closed by close
        else:
            self._tar = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115
        self._members = {member.name: member for member in self._tar}

    def open(self, name: str) -> IO[bytes]:
        file = self._tar.extractfile(self._members[name])
        assert file is not None
        return file

    def close(self) -> None:
        self._tar.close()


class _Folder:
    """The files of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, name: str) -> IO[bytes]:
        return (self._folder / name).open("rb")

    def close(self) -> None:
        """Nothing is open."""


def _blob(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")
