"""A question to the base image: a script that runs in it, with network, and the files that it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imagefactory.inputs import Means
from imagefactory.system import retry
from imagefactory.system.files import remove_tree
from imagefactory.targets.common import buildx

# The lists of packages stay in a cache from question to question; secrets are there only while it runs.
_DOCKERFILE = """\
FROM {base} AS ask
USER 0:0
WORKDIR /ask
COPY ask .
RUN{network} --mount=type=cache,id={name}-apt-lists,target=/var/lib/apt/lists,sharing=locked \\
{secrets}    mkdir answer && APT_CONFIG=/run/secrets/apt.conf sh ./ask.sh
FROM scratch
COPY --from=ask /ask/answer /
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """An OCI layout with a base image of that name and date."""

    name: str
    layout: Path
    digest: str
    epoch: int


def ask_base(
    base: Asked, files: Mapping[str, bytes], secrets: Mapping[str, bytes], means: Means, *, network: bool
) -> Path:
    """Run ``ask.sh`` of ``files`` in the base image; a folder with what it wrote to ``answer/``.

    Raises BuildFailed, or a kind of it.
    """
    folder = means.scratch / "ask"
    remove_tree(folder)
    mounts = "".join(f"    --mount=type=secret,id={name},mode=0444 \\\n" for name in secrets)
    reference = buildx.base_reference(base.name, base.digest)
    without = "" if network else " --network=none"
    text = _DOCKERFILE.format(base=reference, name=base.name, secrets=mounts, network=without)
    for place, contents in (("context/ask", files), ("secrets", secrets)):
        (folder / place).mkdir(parents=True)
        for name, data in contents.items():
            (folder / place / name).write_bytes(data)
    (folder / "secrets").chmod(0o700)
    (folder / "context" / "Dockerfile").write_text(text)
    request = buildx.Request(
        context=folder / "context",
        name="ask",
        epoch=base.epoch,
        target=folder / "answer",
        platform=means.platform,
        kind="files",
        layouts={reference: str(base.layout)},
        secrets={name: folder / "secrets" / name for name in secrets},
        environment=means.site.proxies,
        network=network,
        cache=False,
    )
    retry.on_network_fault(
        lambda: buildx.build(request, means.log, means.stop),
        before_retry=means.log.line,
        wait=means.stop.wait,
        pause=means.site.settings.retry_pause,
    )
    remove_tree(folder / "secrets")
    return folder / "answer"
