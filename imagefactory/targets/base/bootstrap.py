"""A base image from locked packages: mmdebstrap on a repository of exactly those, then an OCI layout."""

from __future__ import annotations

import functools
import time
from pathlib import Path

from imagefactory.errors import disk_error
from imagefactory.inputs.asking import run_or_raise
from imagefactory.inputs.debian import LIMITS, bootstrap, bootstrap_failure, default_sources
from imagefactory.inputs.protocol import Means
from imagefactory.model.spec import Artifact, BaseSpec, Step
from imagefactory.sandbox import MANY, Errand
from imagefactory.system.files import remove_tree
from imagefactory.system.templates import quoted
from imagefactory.targets.common import buildx
from imagefactory.targets.common.layouts import blobs_of, layer_bytes, manifest_of
from imagefactory.targets.common.packages import REPOSITORY, remove_packages, stage_packages

_DOCKERFILE = """\
FROM scratch
ADD rootfs.tar /
ENV LANG=C.UTF-8
LABEL org.opencontainers.image.title={title}
CMD ["bash"]
"""
# What tells of this machine and this moment, and would make another base image elsewhere. mmdebstrap
# leaves the first two for its own use (mmdebstrap(1), "REPRODUCIBILITY"); apt's folders belong to
# whichever user apt could work as; and it would leave behind the options that only this build needs.
# apt's sources are the distribution's own again, not the repository that the packages came from.
_CLEAN = (
    'cd "$1" && rm -rf etc/hostname etc/resolv.conf etc/apt/apt.conf.d/99mmdebstrap var/log/* '
    "var/cache/ldconfig/* var/lib/apt/lists/* var/cache/apt/archives/* var/cache/apt/*.bin "
    "etc/apt/sources.list etc/apt/sources.list.d/* && printf '%s' '{sources}' >etc/apt/sources.list"
)


def make_base(spec: BaseSpec, layout: Path, means: Means) -> Artifact:
    """Make the base image, from the store alone, as a new OCI layout at ``layout``.

    Raises BuildFailed, or a kind of it.
    """
    base, scratch = spec.base.base, means.scratch
    context = scratch / "context"
    context.mkdir()
    steps = [_bootstrap(spec, context / "rootfs.tar", means)]
    (context / "Dockerfile").write_text(_DOCKERFILE.format(title=quoted(base.title)), encoding="utf-8")
    name = f"imagefactory/{base.name}:latest"
    request = buildx.Request(context, name, spec.epoch, layout, spec.platform)
    steps += buildx.build(request, means.log, means.stop)
    digest, manifest = manifest_of(layout)
    return Artifact(digest, layer_bytes(manifest), tuple(steps), path=str(layout))


def put_layout(draft: Path, layout: Path) -> None:
    """Move an OCI layout's image into another layout, which keeps its last image's blobs beside it."""
    if not (layout / "index.json").is_file():
        remove_tree(layout)
        draft.rename(layout)
        return
    keep = {blob.name for blob in (draft / "blobs" / "sha256").iterdir()} | _blobs(layout)
    for blob in (draft / "blobs" / "sha256").iterdir():
        blob.replace(layout / "blobs" / "sha256" / blob.name)
    (draft / "index.json").replace(layout / "index.json")
    for blob in (layout / "blobs" / "sha256").iterdir():
        if blob.name not in keep:
            blob.unlink()


def _blobs(layout: Path) -> set[str]:
    """The sha256 of every blob that the image of an OCI layout is made of."""
    try:
        return {digest.removeprefix("sha256:") for digest in blobs_of(layout)}
    except FileNotFoundError:  # of the manifest: somebody removed it
        return set()


def _bootstrap(spec: BaseSpec, rootfs: Path, means: Means) -> Step:
    base, lock = spec.base.base, spec.lock
    name = f"bootstrap {base.release}"
    means.log.step(name)
    start = time.monotonic()
    repository = stage_packages(spec, means)
    try:
        out = rootfs.open("wb")
    except OSError as error:
        raise disk_error(error, rootfs) from None
    lines = "".join(f"{line}\n" for line in default_sources(base.release))
    # No device nodes: an ordinary user's container runtime could not unpack them, and each brings its own.
    words = [
        *("--format=tar", "--skip=output/dev,cleanup/apt"),
        f"--include={','.join(file.name for file in lock.image.apt)}",
        f"--customize-hook={_CLEAN.format(sources=lines)}",
        *(base.release.suite, "-", "/job/sources.list"),
    ]
    environment = {"SUITE": base.release.suite, "SOURCE_DATE_EPOCH": str(spec.epoch)}
    script = f"{REPOSITORY}\n{bootstrap(base, words)} >&3\n"
    errand = Errand(f"base image {base.name}", script, repository, environment, LIMITS, ids=MANY)
    with out:
        run_or_raise(errand, means, functools.partial(bootstrap_failure, base), out)
    remove_packages(means)
    step = Step(name, round(time.monotonic() - start, 3))
    means.log.step_done(step)
    return step
