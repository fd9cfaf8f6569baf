"""What a VM base is made of: the packages that a machine needs, some of them from newer releases."""

from __future__ import annotations

import functools
import shlex

from imagefactory.inputs.asking import answer_of
from imagefactory.inputs.debian import (
    LIMITS,
    LIST_PACKAGES,
    MAX_ANSWER,
    bootstrap,
    bootstrap_failure,
    keyrings,
    parse_uris,
    relayed,
)
from imagefactory.inputs.protocol import Means
from imagefactory.model.lock import Lock, StageLock
from imagefactory.model.recipe import BaseImage
from imagefactory.sandbox import MANY, Job

# Nothing comes from a newer release but what is asked for from there, and what only that has.
_PINS = "Package: *\nPin: release n={suite}\nPin-Priority: 50\n\n"
_LIST = """\
export APT_CONFIG=$MMDEBSTRAP_APT_CONFIG
apt-get -q --print-uris -o Acquire::ForceHash=SHA256 install --yes --no-install-recommends \\
    {packages} >>/job/uris || {{
    tail -n 20 /job/uris # which holds apt's reasons
    exit 100
}}
"""


def lock_machine(base: BaseImage, request: str, means: Means) -> Lock:
    """The packages that a VM base is made of today. Raises BuildFailed, or a kind of it.

    Its minimum is installed, in a sandbox; of the others apt is only asked which they are.
    """
    assert base.machine
    means.log.step(f"resolve {base.release}")
    newer = base.machine.newer
    found = relayed(base.release, f"VM base {base.name}", means, newer)
    asked = [*base.packages, *(f"{name}/{suite}" for suite, names in newer.items() for name in names)]
    keys, options = keyrings(base)
    words = [
        "--format=null",
        '--setup-hook=mkdir -p "$1/etc/apt/preferences.d" && cp /in/pins "$1/etc/apt/preferences.d/newer"',
        f'--customize-hook=sh -c {shlex.quote(LIST_PACKAGES)} sh "$1" /job/uris',
        "--customize-hook=sh -eu /in/list.sh",
        *options,
        "--aptopt=Acquire::Retries 2",
        *(base.release.suite, "/dev/null", "/in/sources.list"),
    ]
    inputs = {
        "sources.list": "".join(f"{line}\n" for line in found.lines).encode(),
        "pins": "".join(_PINS.format(suite=suite) for suite in newer).encode(),
        "list.sh": _LIST.format(packages=shlex.join(asked)).encode(),
        **keys,
    }
    script = f"{bootstrap(base.model_copy(update={'packages': ()}), words)}\ncat /job/uris >&3\n"
    job = Job(f"VM base {base.name}", script, inputs, {}, LIMITS, found.relay, MANY)
    written = answer_of(job, means, functools.partial(bootstrap_failure, base), MAX_ANSWER, whole=True)
    # What is named later takes the place of the same package in the minimum.
    files = {file.name: file for file in parse_uris(written.decode("utf-8", "replace"), found.places)}
    return Lock(request=request, image=StageLock(apt=tuple(files[name] for name in sorted(files))))
