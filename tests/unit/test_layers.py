"""What tests see of an image's layers."""

from __future__ import annotations

from pathlib import Path

from imagefactory.targets.oci.layers import entries
from tests.unit.test_merge import Layer, archive


def test_what_the_base_image_brought_is_not_read(tmp_path: Path) -> None:
    base: Layer = [("etc/old", b"old")]
    ours: Layer = [("etc/new", b"new")]
    file = tmp_path / "image.tar"
    file.write_bytes(archive(base, ours).getvalue())
    assert [(e.path, e.head) for e in entries(file, 0)] == [
        ("etc/old", b"old"),
        ("etc/new", b"new"),
    ]
    assert [e.path for e in entries(file, 1)] == ["etc/new"]
