"""A base image from a distribution's packages: mmdebstrap, then an OCI layout."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from pathlib import Path

from imagefactory import retry
from imagefactory.backends.docker import buildx
from imagefactory.backends.docker.render import quoted
from imagefactory.errors import BuildFailed, DiskFull, EngineError, NetworkFault
from imagefactory.log import Log
from imagefactory.model.recipe import BaseImage
from imagefactory.model.spec import BaseDefinition, BuiltBase, Step
from imagefactory.records import remove_tree
from imagefactory.run import Stop, run, stream, which

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
_CLEAN = (
    'cd "$1" && rm -rf etc/hostname etc/resolv.conf etc/apt/apt.conf.d/99mmdebstrap var/log/* '
    "var/cache/ldconfig/* var/lib/apt/lists/* var/cache/apt/archives/* var/cache/apt/*.bin"
)
_NOT_FOR_APT = frozenset('":')  # apt reads the first as a quote, the second as the end of a path
_NETWORK = re.compile(
    r"Could not (?:connect|resolve)|Temporary failure|Unable to connect|Connection|Failed to fetch"
    r"|Cannot initiate|download failed",
    re.IGNORECASE,
)


def bootstrap_version() -> dict[str, str]:
    """Mmdebstrap's version. Raises EngineError when it is missing."""
    if which("mmdebstrap") is None:
        raise EngineError(
            "mmdebstrap, which makes base images, is not installed",
            hint="run ci/setup, or install the package mmdebstrap",
        )
    return {"mmdebstrap": run(["mmdebstrap", "--version"]).stdout.split()[-1]}


def make_base(
    definition: BaseDefinition, layout: Path, scratch: Path, log: Log, stop: Stop
) -> tuple[BuiltBase, int, tuple[Step, ...]]:
    """Make the base image and put it into the OCI layout at ``layout``, where it takes the last one's place.

    The blobs of the last one stay there, for builds that read them now.
    """
    bootstrap_version()
    base = definition.base
    for character in _NOT_FOR_APT & set(str(scratch)):
        raise BuildFailed(
            f"base image {base.name}: apt cannot work below {scratch}, for its path holds a {character}",
            hint="move the checkout to another path",
        )
    context = scratch / "context"
    context.mkdir()
    steps = [_bootstrap(definition, context / "rootfs.tar", scratch, log, stop)]
    (context / "Dockerfile").write_text(_DOCKERFILE.format(title=quoted(base.title)), encoding="utf-8")
    draft = scratch / "oci"
    name = f"imagefactory/{base.name}:latest"
    request = buildx.Request(context, name, definition.epoch, draft, definition.platform, as_layout=True)
    steps += buildx.build(request, log, stop)
    digest = buildx.read_digest((draft / "index.json").read_bytes())
    manifest = (draft / "blobs" / digest.replace(":", "/")).read_bytes()
    _put(draft, layout)
    built = BuiltBase(base.name, digest, str(layout), base.published, definition.epoch)
    return built, buildx.manifest_bytes(manifest), tuple(steps)


def _put(draft: Path, layout: Path) -> None:
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
    digest = buildx.read_digest((layout / "index.json").read_bytes())
    manifest = layout / "blobs" / digest.replace(":", "/")
    if not manifest.is_file():
        return set()
    described = json.loads(manifest.read_bytes())
    digests = [digest, *(part["digest"] for part in (described["config"], *described["layers"]))]
    return {digest.removeprefix("sha256:") for digest in digests}


def _bootstrap(definition: BaseDefinition, rootfs: Path, scratch: Path, log: Log, stop: Stop) -> Step:
    base = definition.base
    name = f"bootstrap {base.distribution} {base.suite}"
    log.step(name)
    start = time.monotonic()
    retry.on_network_fault(
        lambda: _mmdebstrap(base, definition.epoch, rootfs, scratch, log, stop),
        before_retry=log.phase,
        wait=stop.wait,
    )
    step = Step(name, round(time.monotonic() - start, 3))
    log.step_done(step)
    return step


def _mmdebstrap(base: BaseImage, epoch: int, rootfs: Path, scratch: Path, log: Log, stop: Stop) -> None:
    temporary = scratch / "mmdebstrap"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    temporary.chmod(0o1777)  # mmdebstrap changes user when it is not root
    argv = ["mmdebstrap", "--variant=minbase", "--format=tar", "--aptopt=Acquire::Retries 2"]
    if os.geteuid() == 0:
        # Its mounts end with it, however it ends. For an ordinary user it does this by itself.
        argv = ["unshare", "--mount", "--", *argv]
    if base.packages:
        argv.append(f"--include={','.join(base.packages)}")
    # No device nodes: an ordinary user's container runtime could not unpack them, and each brings its own.
    argv += ["--skip=output/dev,cleanup/apt", f"--customize-hook={_CLEAN}", base.suite, str(rootfs)]
    environment = {"SOURCE_DATE_EPOCH": str(epoch), "TMPDIR": str(temporary)}
    status = stream(argv, log.line, stop=stop, environment=environment)
    if status == 0:
        return
    tail = list(log.tail)
    text = "\n".join(tail)
    if "no space left on device" in text.lower():
        raise DiskFull(
            f"base image {base.name}: no space is left in {scratch}",
            hint="free some space there, then run the same command again",
            tail=tail,
            log=log.path,
        )
    if _NETWORK.search(text):
        raise NetworkFault(
            f"base image {base.name}: the distribution's mirror cannot be reached",
            hint="check the network (and http_proxy, where there is a proxy), then try again",
            step=f"bootstrap {base.suite}",
            tail=tail,
            log=log.path,
        )
    if "unable to pick chroot mode" in text:
        raise EngineError(
            f"base image {base.name}: mmdebstrap cannot work for an ordinary user here",
            hint="run ci/setup, which asks for newuidmap; /etc/subuid and /etc/subgid need a line too",
        )
    raise BuildFailed(
        f"base image {base.name}: mmdebstrap ended with status {status}",
        step=f"bootstrap {base.suite}",
        tail=tail,
        log=log.path,
    )
