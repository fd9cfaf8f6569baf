"""OCI image archives (https://github.com/opencontainers/image-spec/blob/main/image-layout.md), read."""

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
    """One image in an OCI archive. A context manager: the file is open inside the block."""

    def __init__(self, file: Path | IO[bytes]) -> None:
        if isinstance(file, Path):
            self._archive = tarfile.open(file, "r:")  # noqa: SIM115  # closed when the block ends
        else:
            self._archive = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115
        self._members = {member.name: member for member in self._archive}
        self._digests: list[str] = []
        self._manifest = self._find_manifest()

    def __enter__(self) -> OciArchive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._archive.close()

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
        blob = self._archive.extractfile(self._members[_blob(digest)])
        assert blob is not None
        return blob

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
        blob = self._archive.extractfile(self._members[name])
        return blob.read(MAX_DOCUMENT_BYTES) if blob else b""


def _blob(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")
