"""A question to the base image: a script that runs in its tree, in a sandbox, and the files that it
answers.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagefactory.errors import BuildFailed
from imagefactory.inputs.asking import answer_of
from imagefactory.inputs.protocol import Means
from imagefactory.sandbox import Errand, Limits, Relay
from imagefactory.system import archives
from imagefactory.targets.common import buildx

# As root of a user namespace that has no other user: nobody else's files are to be told apart here.
_SCRIPT = """\
mkdir root answer
tar -xf /in/tree -C root --no-same-owner --exclude='dev/*' --exclude='./dev/*'
mkdir -p root/proc root/dev root/ask root/tmp
mount -t proc proc root/proc
mount --rbind /dev root/dev
mount -t tmpfs -o mode=1777 none root/tmp
cp /in/question/* root/ask
mkdir root/ask/answer
env -i PATH="$PATH" HOME=/root LANG=C.UTF-8 APT_CONFIG=/ask/apt.conf chroot root \\
    /bin/sh -c 'cd /ask && exec sh ./ask.sh' 3>&-
tar -C root/ask/answer -cf - . >&3
"""
_LIMITS = Limits(seconds=1800, disk=16 << 30)
_MAX_ANSWER = 64 << 20
_BOUNDS = archives.Bounds(_MAX_ANSWER, entries=1000, seconds=60)
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Layout:
    """An OCI layout with a base image of that name and date."""

    name: str
    layout: Path
    digest: str
    epoch: int


def ask_base(base: Layout, files: Mapping[str, bytes], relay: Relay | None, means: Means) -> dict[str, bytes]:
    """Run ``ask.sh`` of ``files`` in the base image; the files that it wrote to ``answer/``, by name.

    It reaches what the relay leads to, and nothing without one. Raises BuildFailed, or a kind of it.
    """
    tree = _tree(base, means)
    question = {f"question/{name}": data for name, data in files.items()}
    what = f"base image {base.name}"
    errand = Errand(what, _SCRIPT, {"tree": tree, **question}, {}, _LIMITS, relay, ids=1)
    packed = io.BytesIO(answer_of(errand, means, _failure, _MAX_ANSWER, whole=True))
    of_it = f"{what}: its answer"
    found = {}
    with archives.told(of_it):
        for archive, member in archives.members(packed, of_it, _BOUNDS):
            if member.isreg() and not member.issparse() and (content := archive.extractfile(member)):
                found[member.name.removeprefix("./")] = content.read()
    return found


def _tree(base: Layout, means: Means) -> Path:
    """A tar archive of the base image's tree: its one layer, or what BuildKit makes of several."""
    manifest = json.loads(_blob(base, base.digest).read_bytes())
    layers = [_blob(base, layer["digest"]) for layer in manifest["layers"]]
    if len(layers) == 1:
        with layers[0].open("rb") as layer:
            if layer.read(2) == _GZIP:
                return layers[0]
    reference = buildx.base_reference(base.name, base.digest)
    context, tree = means.scratch / "tree", means.scratch / "tree.tar"
    context.mkdir(exist_ok=True)
    (context / "Dockerfile").write_text(f"FROM {reference}\n", encoding="utf-8")
    request = buildx.Request(
        context=context,
        name="tree",
        epoch=base.epoch,
        target=tree,
        platform=means.platform,
        kind="tree",
        layouts={reference: str(base.layout)},
    )
    buildx.build(request, means.log, means.stop)
    return tree


def _blob(base: Layout, digest: str) -> Path:
    return base.layout / "blobs" / digest.replace(":", "/")


def _failure(lines: Sequence[str], what: str, means: Means) -> BuildFailed:
    return BuildFailed(f"{what}: what it was asked failed", tail=lines[-20:], log=means.log.path)
