"""conda packages, solved by rattler in a sandbox, and fetched from their channels."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence
from importlib.resources import files as files_in
from importlib.util import find_spec
from pathlib import Path

from pydantic import ValidationError

from imagefactory.errors import BuildFailed, Gone, Unsolvable
from imagefactory.inputs.asking import answer_of, first_words
from imagefactory.inputs.conda import virtual_packages
from imagefactory.inputs.mirrors import fetch_checked
from imagefactory.inputs.protocol import Means, Origin, Wanted
from imagefactory.model.expected import Expected
from imagefactory.model.lock import CondaFile, Stage
from imagefactory.model.recipe import channel_address
from imagefactory.sandbox import Errand, Limits, Relay, host_python, route_to
from imagefactory.system.web import public_certificates

_PLATFORMS = {"linux/amd64": "linux-64", "linux/arm64": "linux-aarch64"}
_SCRIPT = """\
"$PYTHON" -I -B /in/solver.py /in/question.json >&3
"""
_LIMITS = Limits(seconds=1800, disk=8 << 30)
_MAX_ANSWER = 64 << 20
_UNSOLVABLE = "SolverError:"
_OTHER = "look at the channel, or name another one, or a mirror of it in site.yaml"


def lock_conda(wanted: Wanted, means: Means) -> Mapping[Stage, Sequence[CondaFile]]:
    """What fits together on the base image's system, to exact builds."""
    inputs = wanted.image.inputs.conda
    assert inputs
    means.log.step("solve conda packages")
    what = f"recipes/{wanted.image.recipe}: {wanted.image.id}: conda packages"
    homes = {name: channel_address(name) for name in inputs.channels}
    places = {name: means.site.addresses(home)[0] for name, home in homes.items()}
    before = [f"{f.name} =={f.version} {f.build}" for f in wanted.before("conda", "image")]
    relay = Relay()
    question = {
        # Only what describes the channels is read here, and that comes from nowhere else.
        "channels": [(name, relay.add(route_to(p.url, means.web, what))) for name, p in places.items()],
        "specs": list(inputs.packages),
        "platform": _PLATFORMS[wanted.base.platform],
        "virtual": {**virtual_packages(wanted.image), "__glibc": _glibc(wanted)},
        "locked": before,
    }
    stand_ins = {name for name, place in places.items() if place.stand_in is not None}
    files = _read(_ask(question, relay, what, means), what, homes.keys(), stand_ins)
    return {"image": files}


def fetch_conda(file: CondaFile, what: str, origin: Origin, means: Means) -> str:
    """From its channel, or the site's mirrors of it."""
    url = f"{channel_address(file.channel)}/{file.file}"
    try:
        fetch_checked(url, Expected(what, file.sha256, file.bytes or None), means)
    except Gone as error:
        name = origin.image.recipe if origin.image else ""
        error.hint = f"the channel has moved on: imagefactory lock --upgrade {name} takes what it has today"
        raise
    return file.sha256


def _glibc(wanted: Wanted) -> str:
    """The version of the base image's libc."""
    found = wanted.base_lock.system_packages.get("libc6", "2.17")
    return found.partition("-")[0]


def _ask(question: Mapping[str, object], relay: Relay, what: str, means: Means) -> bytes:
    """What rattler answers, in a sandbox: it reads what channels say."""
    rattler = find_spec("rattler")
    assert rattler
    assert rattler.origin
    inputs: dict[str, bytes | Path] = {
        "question.json": json.dumps(question).encode(),
        "solver.py": (files_in(__package__) / "conda_solver.py").read_bytes(),
        "rattler": Path(rattler.origin).parent,
        "certificates": public_certificates(),
    }
    # It starts no client for the web without certificates, though it needs none here.
    environment = {"PYTHON": str(host_python()), "SSL_CERT_FILE": "/in/certificates"}
    errand = Errand(what, _SCRIPT, inputs, environment, _LIMITS, relay)
    return answer_of(errand, means, _failure, _MAX_ANSWER)


def _read(answer: bytes, what: str, channels: Container[str], stand_ins: Container[str]) -> list[CondaFile]:
    """The packages of an answer, which is not trusted: it must be of these channels, and have a sha256."""
    try:
        rows = [{**row, "stand_in": row["channel"] in stand_ins} for row in json.loads(answer)]
        return [_file(row, what, channels) for row in rows]
    except (ValueError, TypeError, LookupError, RecursionError):
        raise BuildFailed(f"{what}: the solver's answer is none that can be read", hint=_OTHER) from None


def _file(row: Mapping[str, object], what: str, channels: Container[str]) -> CondaFile:
    if row["channel"] not in channels:
        raise BuildFailed(f"{what}: {str(row['name'])[:100]!r} is of none of the recipe's channels")
    shown, place = repr(str(row["file"])[:200]), row["channel"]
    if row["sha256"] == "":
        raise BuildFailed(f"{what}: the channel {place} gives no sha256 for {shown}", hint=_OTHER)
    try:
        return CondaFile.model_validate(row)
    except ValidationError as error:
        field = ".".join(map(str, error.errors()[0]["loc"]))
        raise BuildFailed(
            f"{what}: the channel {place} says of {shown} what can be of no package: its {field}", hint=_OTHER
        ) from None


def _failure(lines: Sequence[str], what: str, means: Means) -> BuildFailed:
    if not any(line.startswith(_UNSOLVABLE) for line in lines):
        said = first_words(lines, r"\w*(?:Error|Exception):", "Caused by:")
        return BuildFailed(
            f"{what}: rattler cannot use what the channels give: {said}",
            hint=_OTHER,
            tail=lines[-20:],
            log=means.log.path,
        )
    return Unsolvable(
        f"{what}: these packages cannot be had together",
        hint="the solver's reasons stand above; loosen the versions, or name another channel",
        tail=lines[-20:],
        log=means.log.path,
    )
