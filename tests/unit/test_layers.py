"""What tests see of an image's layers."""

from __future__ import annotations

import hashlib
from pathlib import Path

from imagefactory.backends.docker.layers import entries
from tests.unit.test_merge import archive, layer_bytes


def test_what_the_base_image_brought_is_not_read(tmp_path: Path) -> None:
    base, ours = [("etc/old", b"old")], [("etc/new", b"new")]
    digest = f"sha256:{hashlib.sha256(layer_bytes(base)).hexdigest()}"
    export = [archive(base, ours).getvalue()]
    assert [(e.path, e.head) for e in entries(export, frozenset(), tmp_path)] == [
        ("etc/old", b"old"),
        ("etc/new", b"new"),
    ]
    assert [e.path for e in entries(export, frozenset({digest}), tmp_path)] == ["etc/new"]
