"""OCI layouts: layers of the base image are shared, and an archive is packed of what stands there."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from imagefactory.targets.common.archive import OciArchive
from imagefactory.targets.common.layouts import (
    archive_of,
    blobs_of,
    layer_bytes,
    manifest_of,
    packed,
    share_layers,
)


def blob(layout: Path, data: bytes) -> dict[str, object]:
    digest = hashlib.sha256(data).hexdigest()
    file = layout / "blobs" / "sha256" / digest
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return {"digest": f"sha256:{digest}", "size": len(data)}


def image(layout: Path, *layers: bytes) -> list[str]:
    """A layout of one image; the digests of its layers."""
    described = [blob(layout, data) for data in layers]
    config = blob(layout, b'{"architecture": "amd64"}')
    manifest = blob(layout, json.dumps({"config": config, "layers": described}).encode())
    (layout / "index.json").write_text(json.dumps({"manifests": [manifest]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return [str(layer["digest"]) for layer in described]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    image(folder, b"the lowest", b"the second")
    return folder


def unpacked(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {entry.name: tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr]


def test_layers_of_the_base_image_are_the_same_files(base: Path, tmp_path: Path) -> None:
    digest, manifest = manifest_of(base)
    shared = share_layers(base, digest, tmp_path / "layout")
    assert shared == {layer["digest"] for layer in manifest["layers"]}
    for layer in shared:
        name = "blobs/" + layer.replace(":", "/")
        assert (tmp_path / "layout" / name).samefile(base / name)


def test_a_layout_is_read(base: Path) -> None:
    digest, manifest = manifest_of(base)
    assert layer_bytes(manifest) == len(b"the lowest" + b"the second")
    assert blobs_of(base) == {f"sha256:{file.name}" for file in base.glob("blobs/sha256/*")}
    assert digest in blobs_of(base)


def test_a_damaged_layer_is_not_shared(base: Path, tmp_path: Path) -> None:
    digest, manifest = manifest_of(base)
    lowest, second = (layer["digest"] for layer in manifest["layers"])
    (base / "blobs" / lowest.replace(":", "/")).write_bytes(b"another")
    assert share_layers(base, digest, tmp_path / "layout") == {second}
    assert [file.name for file in (tmp_path / "layout").rglob("*") if file.is_file()] == [second[7:]]


@pytest.mark.parametrize("said", ["", "{", "[]", '{"layers": [1]}', '{"layers": [{"digest": null}]}'])
def test_nothing_is_shared_of_what_is_no_image(base: Path, tmp_path: Path, said: str) -> None:
    digest, _ = manifest_of(base)
    (base / "blobs" / digest.replace(":", "/")).write_text(said)
    assert share_layers(base, digest, tmp_path / "layout") == frozenset()
    assert share_layers(base, "sha256:" + "0" * 64, tmp_path / "layout") == frozenset()


def test_an_archive_holds_the_image_and_nothing_else(base: Path) -> None:
    blob(base, b"of the image before")
    digest, manifest = manifest_of(base)
    layers = [layer["digest"] for layer in manifest["layers"]]
    pieces = list(packed(base))
    files = unpacked(b"".join(pieces))
    blobs = [digest, manifest["config"]["digest"], *layers]
    assert files.keys() == {
        "oci-layout",
        "index.json",
        *("blobs/" + each.replace(":", "/") for each in blobs),
    }
    assert all(data == (base / name).read_bytes() for name, data in files.items())
    assert list(packed(base)) == pieces
    assert b"the lowest" not in b"".join(packed(base, layers[:1]))
    assert b"the second" in b"".join(packed(base, layers[:1]))


def test_an_archive_and_a_layout_are_read_alike(base: Path, tmp_path: Path) -> None:
    file = archive_of(base, tmp_path / "image.tar")
    assert archive_of(file, tmp_path / "unused") == file
    seen = []
    for place in (base, file):
        with OciArchive(place) as read:
            contents = []
            for layer in read.layers:
                with read.open_layer(layer) as opened:
                    contents.append(opened.read())
            seen.append((read.config, contents, read.is_image(manifest_of(base)[0])))
    assert seen[0] == seen[1] == ({"architecture": "amd64"}, [b"the lowest", b"the second"], True)
