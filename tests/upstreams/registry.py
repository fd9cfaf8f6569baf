"""A registry of container images: a folder over HTTP, with the tokens that public ones give to anybody."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.upstreams.server import Upstream, _Answer, _UpstreamHandler

TOKEN = "for-anybody"  # anybody gets it
OCI = "application/vnd.oci.image"
DOCKER = "application/vnd.docker.distribution.manifest"


class Registry(Upstream):
    """Serves what was pushed into ``folder``. With ``tokens`` it shows nothing to who has none."""

    tokens = False
    token = json.dumps({"token": TOKEN}).encode()  # as it is given

    @property
    def host(self) -> str:
        """How names of its images begin."""
        return self.url.partition("://")[2]

    def _answer(self, path: str, request: _UpstreamHandler, body: bytes) -> _Answer:
        if path == "/token":
            return _Answer(200, {"Content-Type": "application/json"}, self.token)
        if self.tokens and request.headers.get("Authorization") != f"Bearer {TOKEN}":
            challenge = f'Bearer realm="{self.url}/token",service="tests"'
            return _json(401, {"errors": [{"code": "UNAUTHORIZED"}]}, {"WWW-Authenticate": challenge})
        if path == "/v2/":
            return _json(200, {})
        return super()._answer(path, request, body)


def push_layout(layout: Path, folder: Path, name: str) -> str:
    """Have a registry's folder hold the image of an OCI layout; the digest of its manifest."""
    entry = json.loads((layout / "index.json").read_text())["manifests"][0]
    home = folder / "v2" / name
    for place in ("blobs", "manifests"):
        (home / place).mkdir(parents=True, exist_ok=True)
    for blob in (layout / "blobs" / "sha256").iterdir():
        shutil.copy(blob, home / "blobs" / f"sha256:{blob.name}")
    digest = str(entry["digest"])
    shutil.move(home / "blobs" / digest, home / "manifests" / digest)
    return digest


def push_image(
    folder: Path,
    name: str,
    layers: Iterable[bytes],
    config: Mapping[str, Any],
    kind: str = f"{OCI}.manifest.v1+json",
) -> str:
    """The same with an image of these layers, tar archives as they are."""
    parts = [{"mediaType": f"{OCI}.layer.v1.tar", **_put(folder, name, "blobs", layer)} for layer in layers]
    of_config = {"mediaType": f"{OCI}.config.v1+json", **_put(folder, name, "blobs", _bytes(config))}
    manifest = {"schemaVersion": 2, "mediaType": kind, "config": of_config, "layers": parts}
    return str(_put(folder, name, "manifests", _bytes(manifest))["digest"])


def push_index(folder: Path, name: str, images: Mapping[str, str]) -> str:
    """The same with an index of images by platform, given by their digests, and an attestation."""
    entries = []
    for platform, digest in images.items():
        system, _, machine = platform.partition("/")
        file = folder / "v2" / name / "manifests" / digest
        entries.append(
            {
                "mediaType": f"{OCI}.manifest.v1+json",
                "digest": digest,
                "size": file.stat().st_size if file.exists() else 123,
                "platform": {"os": system, "architecture": machine},
            }
        )
    index = {"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": entries}
    return str(_put(folder, name, "manifests", _bytes(index))["digest"])


def push_document(folder: Path, name: str, document: Any) -> str:
    """The same with anything in a manifest's place."""
    return str(_put(folder, name, "manifests", _bytes(document))["digest"])


def _put(folder: Path, name: str, place: str, data: bytes) -> dict[str, Any]:
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    home = folder / "v2" / name / place
    home.mkdir(parents=True, exist_ok=True)
    (home / digest).write_bytes(data)
    return {"digest": digest, "size": len(data)}


def _bytes(document: Any) -> bytes:
    return json.dumps(document).encode()


def _json(status: int, document: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> _Answer:
    return _Answer(status, {"Content-Type": "application/json", **(headers or {})}, _bytes(document))
