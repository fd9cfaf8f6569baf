"""Debian's and Ubuntu's archives: what they are called, where they are, what a base image takes from them."""

from __future__ import annotations

import functools
import platform
import re
import shlex
import tempfile
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from pydantic import ValidationError

from imagefactory.errors import BuildFailed, EngineError, NetworkFault
from imagefactory.inputs.asking import answer_of
from imagefactory.inputs.protocol import Means
from imagefactory.model.lock import AptFile, Lock, StageLock
from imagefactory.model.recipe import BaseImage, Distribution, Release
from imagefactory.sandbox import MANY, Errand, Limits, Relay, route_to
from imagefactory.system.faults import network_words
from imagefactory.system.log import TAIL_LINES
from imagefactory.system.processes import run, which
from imagefactory.system.redact import harmless

_URI = re.compile(r"^'([^']+)' (\S+)_([^_\s]+)_([^_\s]+)\.deb (\d+) SHA256:([0-9a-f]{64})$", re.MULTILINE)
_ADDRESS = re.compile(r"\b(?:https?|file|copy):/[^\s\]]*")
_NETWORK = network_words(
    r"Connection",
    r"Cannot initiate",
    r"download failed",
)
LIMITS = Limits(seconds=3600, disk=16 << 30, file=16 << 30)
"""For making a base image: its whole tree is there, and its packages beside it."""
MAX_ANSWER = 16 << 20
_MAX_WORDS = 300  # letters of what apt says, in a message
OTHER = "what comes from outside may do that on purpose: look at the log"
# All else than the network: a relay notes that itself.
_WRONG = re.compile(
    r"E: (?:The repository .* (?:is not signed|does not have a Release file)"
    r"|Release file .* is (?:expired|not valid)|Unable to parse|Encountered a section|GPG error"
    r"|Failed to fetch .*(?:40[0-9] |Hash Sum|unexpected size|Insufficient information|Clearsigned))"
)
# What mmdebstrap has installed, as apt would fetch it.
LIST_PACKAGES = (
    "APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get -o Acquire::ForceHash=SHA256 download --print-uris "
    """$(dpkg-query --admindir="$1/var/lib/dpkg" -W -f '${Package}:${Architecture}=${Version} ') >"$2" """
)


@dataclass(frozen=True, slots=True)
class _Vendor:
    """What is particular to a distribution; ``keyring`` holds its archives' keys, and is in ``package``.

    ``beside`` are packages that images need and that its minimum, those of priority required, lacks.
    """

    components: str
    keyring: str
    package: str
    beside: tuple[str, ...] = ()


VENDORS: Mapping[Distribution, _Vendor] = MappingProxyType(
    {
        "debian": _Vendor("main", "/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring"),
        "ubuntu": _Vendor(
            "main,universe", "/usr/share/keyrings/ubuntu-archive-keyring.gpg", "ubuntu-keyring", ("apt",)
        ),
    }
)
_APT_TRUSTS = ("/etc/apt/trusted.gpg", "/etc/apt/trusted.gpg.d")
_OPTIONS = re.compile(r"^deb \[[^\]]*\]")


@functools.cache
def default_sources(release: Release) -> tuple[str, ...]:
    """The lines of apt's sources.list for a release, as mmdebstrap writes them by itself.

    Archives of one name hold the same files, so that the first serves for all of them. Raises EngineError
    where mmdebstrap is missing or does not know the release.
    """
    mmdebstrap_version()
    with tempfile.TemporaryDirectory() as name:
        # It ends right after it has written the file, before it asks any archive or needs any right.
        hook = f'cp "$1/etc/apt/sources.list" {name}/sources && false'
        argv = [
            "mmdebstrap",
            "--mode=chrootless",
            "--variant=custom",
            "--format=null",
            f"--components={VENDORS[release.distribution].components}",
            f"--setup-hook={hook}",
        ]
        done = run([*argv, release.suite, "/dev/null"])
        listed = Path(name) / "sources"
        if not listed.is_file():
            raise EngineError(
                f"mmdebstrap does not know the suite {release.suite}: {done.stderr.strip()[-300:]}"
            )
        return read_sources(listed.read_text(), release)


def read_sources(text: str, release: Release) -> tuple[str, ...]:
    """Lines of sources.list without what depends on the machine that wrote them."""
    lines, places = [], dict[str, str]()
    for written in text.splitlines():
        # Whether it names a keyring there depends on those that are installed.
        line = _OPTIONS.sub("deb", written)
        match = _ADDRESS.search(line)
        if line.startswith("deb ") and match:
            address = match[0].rstrip("/")
            address = places.setdefault(address.rpartition("/")[2], address)
            lines.append(f"deb {address}{line[match.end() :]}")
    if not all(archive.startswith(release.distribution) for archive in places):
        raise EngineError(
            f"mmdebstrap does not know {release.suite} as a suite of {release.distribution}",
            hint="check 'distribution' and 'suite' in the base image's file",
        )
    return tuple(lines)


def mmdebstrap_version() -> str:
    """Mmdebstrap's version. Raises EngineError when it is missing."""
    if which("mmdebstrap") is None:
        raise EngineError(
            "mmdebstrap, which makes base images, is not installed",
            hint="run ci/setup, or install the package mmdebstrap",
        )
    return run(["mmdebstrap", "--version"]).stdout.split()[-1]


def archives(sources: Iterable[str]) -> dict[str, str]:
    """The address of each archive in lines of sources.list, by the last part of the address."""
    matches = (_ADDRESS.search(line) for line in sources)
    addresses = [match[0].rstrip("/") for match in matches if match]
    return {address.rpartition("/")[2]: address for address in addresses}


@dataclass(frozen=True)
class Archives:
    """A release's archives as a sandbox sees them: ``lines`` for sources.list lead to ``relay`` alone."""

    relay: Relay
    lines: tuple[str, ...]
    places: Mapping[str, tuple[str, bool]]
    """By its address in the sandbox: the name of an archive, and whether something stands in for it."""


def with_components(line: str, components: Sequence[str]) -> str:
    """A line of sources.list that has more components of its archive."""
    return " ".join((line, *components))


def relayed(
    release: Release,
    what: str,
    means: Means,
    newer: Iterable[str] = (),
    components: Sequence[str] = (),
) -> Archives:
    """The archives of a release, or the site's mirrors of them, through a relay, and there the ``newer``
    releases of the same distribution; with more ``components`` than the usual ones. Raises EngineError.
    """
    relay, lines, places = Relay(), list[str](), dict[str, tuple[str, bool]]()
    addresses = dict[str, str]()
    for line in default_sources(release):
        match = _ADDRESS.search(line)
        assert match
        home = match[0].rstrip("/")
        stand_in = means.site.stand_in(home) is not None
        if home not in addresses:
            # The first mirror alone: two may be of different days.
            addresses[home] = relay.add(route_to(means.site.addresses(home)[0].url, means.web, what))
            places[f"{addresses[home]}/"] = (home.rpartition("/")[2], stand_in)
        options = "[trusted=yes] " if stand_in else ""
        lines.append(f"deb {options}{addresses[home]}{with_components(line[match.end() :], components)}")
    # The first is the release itself. Mirrors may be late with what changes daily: its signature counts.
    main = next(iter(addresses.values()))
    late = "trusted=yes check-valid-until=no" if stand_in else "check-valid-until=no"
    usual = " ".join(VENDORS[release.distribution].components.split(","))
    lines += [f"deb [{late}] {main} {suite} {usual}" for suite in newer]
    return Archives(relay, tuple(lines), places)


def parse_uris(written: str, places: Mapping[str, tuple[str, bool]]) -> Iterator[AptFile]:
    """What ``apt-get --print-uris`` lists, of archives at those ``places``. Raises BuildFailed for anything
    else: who wrote it in the sandbox is not known.
    """
    for line in written.splitlines():
        if line.startswith("'") and not _URI.match(line):
            raise BuildFailed(f"apt names a file without a sha256: {_in_archive(line, places)}", hint=OTHER)
    for uri, name, version, _, size, sha256 in _URI.findall(written):
        known = next((place for place in places if uri.startswith(place)), None)
        if known is None:
            raise BuildFailed(
                f"apt would take {name} from {uri[:_MAX_WORDS]}, which is none of the base image's archives",
                hint=OTHER,
            )
        archive, stand_in = places[known]
        try:
            yield AptFile(
                name=name,
                version=urllib.parse.unquote(version),
                archive=archive,
                file=urllib.parse.unquote(uri[len(known) :]).lstrip("/"),
                bytes=int(size),
                sha256=sha256,
                stand_in=stand_in,
            )
        except ValidationError:
            raise BuildFailed(
                f"apt names a file that no archive can have: {_in_archive(uri, places)}", hint=OTHER
            ) from None


def _in_archive(text: str, places: Mapping[str, tuple[str, bool]]) -> str:
    """What apt says, with the names of archives for their addresses in the sandbox."""
    for place, (archive, _) in places.items():
        text = text.replace(place, f"{archive}: ")
    return repr(text[:_MAX_WORDS])


def wrong_in_archives(lines: Sequence[str]) -> str:
    """What apt says that is wrong with what the archives hold; empty where it says nothing of that."""
    return next((harmless(line[2:].strip())[:_MAX_WORDS] for line in lines if _WRONG.match(line)), "")


OTHER_ARCHIVE = "look at the archive; a mirror in site.yaml may be behind, or be changing: try again later"


def lock_base(base: BaseImage, request: str, means: Means) -> Lock:
    """The packages that a base image is made of today. Raises BuildFailed, or a kind of it.

    mmdebstrap runs their maintainer scripts, as root of a user namespace.
    """
    means.log.step(f"resolve {base.release}")
    found = relayed(base.release, f"base image {base.name}", means)
    hook = f'sh -c {shlex.quote(LIST_PACKAGES)} sh "$1" /job/uris'
    keys, options = keyrings(base)
    words = [
        "--format=null",
        f"--customize-hook={hook}",
        *options,
        "--aptopt=Acquire::Retries 2",
        *(base.release.suite, "/dev/null", "/in/sources.list"),
    ]
    inputs = {"sources.list": "".join(f"{line}\n" for line in found.lines).encode(), **keys}
    script = f"{bootstrap(base, words)}\ncat /job/uris >&3\n"
    errand = Errand(f"base image {base.name}", script, inputs, {}, LIMITS, found.relay, MANY)
    written = answer_of(errand, means, functools.partial(bootstrap_failure, base), MAX_ANSWER, whole=True)
    files = sorted(parse_uris(written.decode("utf-8", "replace"), found.places), key=lambda file: file.name)
    return Lock(request=request, image=StageLock(apt=tuple(files)))


def keyrings(base: BaseImage) -> tuple[dict[str, bytes | Path], list[str]]:
    """The keys that apt trusts, this machine's and those of the distribution, as inputs of an errand and as
    options of mmdebstrap.

    Raises EngineError where it is another distribution than this machine's, and its keys are not here.
    """
    vendor = VENDORS[base.release.distribution]
    if not Path(vendor.keyring).is_file() and _distribution_here() != base.distribution:
        raise EngineError(
            f"base image {base.name}: the keys of {base.distribution} are not here: {vendor.keyring}",
            hint=f"run ci/setup, or install the package {vendor.package}",
        )
    there = [Path(place) for place in (*_APT_TRUSTS, vendor.keyring) if Path(place).exists()]
    inputs: dict[str, bytes | Path] = {f"keys-{number}": place for number, place in enumerate(there)}
    return inputs, [f"--keyring=/in/{name}" for name in inputs]


def _distribution_here() -> str:
    try:
        return platform.freedesktop_os_release().get("ID", "")
    except OSError:
        return ""


def bootstrap(base: BaseImage, words: Sequence[str]) -> str:
    """The line of a script, for a sandbox, that runs mmdebstrap with what every base image has in common."""
    mmdebstrap_version()
    argv = ["mmdebstrap", "--mode=root", "--variant=minbase"]
    if beside := (*VENDORS[base.release.distribution].beside, *base.packages):
        argv.append(f"--include={','.join(beside)}")
    return shlex.join([*argv, *words])


def bootstrap_failure(base: BaseImage, lines: Sequence[str], what: str, means: Means) -> BuildFailed:
    """What mmdebstrap's last lines mean."""
    tail = lines[-TAIL_LINES:]
    step = f"bootstrap {base.suite}"
    if wrong := wrong_in_archives(lines):
        return BuildFailed(
            f"base image {base.name}: the archives cannot be used: {wrong}",
            hint=OTHER_ARCHIVE,
            step=step,
            tail=tail,
            log=means.log.path,
        )
    if _NETWORK("\n".join(tail)):
        return NetworkFault(
            f"base image {base.name}: the distribution's archives cannot be reached: "
            + ", ".join(archives(default_sources(base.release)).values()),
            hint="check the network; behind a firewall, name mirrors or proxies in site.yaml",
            step=step,
            tail=tail,
            log=means.log.path,
        )
    return BuildFailed(
        f"base image {base.name}: mmdebstrap failed",
        hint=OTHER,
        step=step,
        tail=tail,
        log=means.log.path,
    )
