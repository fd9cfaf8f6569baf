"""Debian's and Ubuntu's archives: what they are called, where they are, what a base image takes from them."""

from __future__ import annotations

import functools
import os
import platform
import re
import shlex
import tempfile
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from imagefactory.errors import BuildFailed, DiskFull, EngineError, NetworkFault
from imagefactory.inputs.protocol import Means
from imagefactory.model.lock import AptFile, Lock, StageLock
from imagefactory.model.recipe import BaseImage, Distribution, Release
from imagefactory.system import retry
from imagefactory.system.faults import network_words
from imagefactory.system.processes import run, stream, which
from imagefactory.system.site import Site

_URI = re.compile(r"^'([^']+)' (\S+)_([^_\s]+)_([^_\s]+)\.deb (\d+) SHA256:([0-9a-f]{64})$", re.MULTILINE)
_ADDRESS = re.compile(r"\b(?:https?|file|copy):/[^\s\]]*")
_NETWORK = network_words(
    r"Connection",
    r"Cannot initiate",
    r"download failed",
)
# What mmdebstrap has installed, as apt would fetch it.
_LIST_PACKAGES = (
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


def site_sources(release: Release, site: Site) -> list[str]:
    """Lines of sources.list with the site's mirrors in place of the archives' own addresses."""
    lines = []
    for line in default_sources(release):
        match = _ADDRESS.search(line)
        assert match
        options = "" if not site.stand_in(match[0]) else "[trusted=yes] "
        # The first mirror alone: apt would take several for several archives.
        address = site.addresses(match[0].rstrip("/"))[0].url
        lines.append(f"deb {options}{address}{line[match.end() :]}")
    return lines


def parse_uris(written: str, release: Release, site: Site) -> Iterator[AptFile]:
    """What ``apt-get --print-uris`` lists. Raises BuildFailed for a file from any other archive."""
    places = {}
    for name, address in archives(default_sources(release)).items():
        places[site.addresses(address)[0].url.rstrip("/") + "/"] = (name, site.stand_in(address) is not None)
    for line in written.splitlines():
        if line.startswith("'") and not _URI.match(line):
            raise BuildFailed(f"apt names a file without a sha256: {line}")
    for uri, name, version, _, size, sha256 in _URI.findall(written):
        # apt writes addresses without what stands before an @, and in its own way of quoting.
        known = next((p for p in places if _bare(uri).startswith(_bare(p))), None)
        if known is None:
            raise BuildFailed(f"apt would take {name} from {uri}, which is none of the base image's archives")
        archive, stand_in = places[known]
        yield AptFile(
            name=name,
            version=urllib.parse.unquote(version),
            archive=archive,
            file=_bare(uri)[len(_bare(known)) :].lstrip("/"),
            bytes=int(size),
            sha256=sha256,
            stand_in=stand_in,
        )


def lock_base(base: BaseImage, request: str, means: Means) -> Lock:
    """The packages that a base image is made of today. Raises BuildFailed, or a kind of it."""
    means.log.step(f"resolve {base.release}")
    answers = means.scratch / "answers"
    answers.mkdir()
    answers.chmod(0o1777)  # for an ordinary user mmdebstrap works as another
    answer = answers / "uris"
    sources = means.scratch / "sources.list"
    sources.write_text("\n".join(site_sources(base.release, means.site)) + "\n")
    hook = f'sh -c {shlex.quote(_LIST_PACKAGES)} sh "$1" {shlex.quote(str(answer))}'
    argv = ["--format=null", f"--customize-hook={hook}", *keyring_options(base), *apt_options(means.site)]
    retry.on_network_fault(
        lambda: mmdebstrap(base, [*argv, base.release.suite, "/dev/null", str(sources)], means),
        before_retry=means.log.phase,
        wait=means.stop.wait,
        pause=means.site.settings.retry_pause,
    )
    files = sorted(parse_uris(answer.read_text(), base.release, means.site), key=lambda file: file.name)
    return Lock(request=request, image=StageLock(apt=tuple(files)))


def keyring_options(base: BaseImage) -> list[str]:
    """Mmdebstrap's options for the keys that apt trusts: this machine's, and those of the distribution.

    Raises EngineError where it is another distribution than this machine's, and its keys are not here.
    """
    vendor = VENDORS[base.release.distribution]
    if Path(vendor.keyring).is_file():
        trusted = (*(place for place in _APT_TRUSTS if Path(place).exists()), vendor.keyring)
        return [f"--keyring={place}" for place in trusted]
    if _distribution_here() == base.distribution:
        return []
    raise EngineError(
        f"base image {base.name}: the keys of {base.distribution}'s archives are not here: {vendor.keyring}",
        hint=f"run ci/setup, or install the package {vendor.package}",
    )


def _distribution_here() -> str:
    try:
        return platform.freedesktop_os_release().get("ID", "")
    except OSError:
        return ""


def apt_options(site: Site) -> list[str]:
    """Mmdebstrap's options for the site's settings; proxies reach apt through the environment."""
    options = ["--aptopt=Acquire::Retries 2"]
    if site.ca_bundle:
        options.append(f'--aptopt=Acquire::https::CAInfo "{site.ca_bundle}"')
    return options


def mmdebstrap(base: BaseImage, words: Sequence[str], means: Means, *, epoch: int | None = None) -> None:
    """Run mmdebstrap with what every base image has in common. Raises a kind of BuildFailed.

    With an ``epoch`` (seconds since 1970) it makes a base image of that date, and has no network.
    """
    mmdebstrap_version()
    temporary = Path(tempfile.mkdtemp(prefix="mmdebstrap-", dir=means.scratch))
    temporary.chmod(0o1777)  # mmdebstrap changes user when it is not root
    argv = ["mmdebstrap", "--variant=minbase"]
    if os.geteuid() == 0:
        # Its mounts end with it, however it ends. For an ordinary user it does this by itself.
        argv = ["unshare", "--mount", *(["--net"] if epoch is not None else []), "--", *argv]
    if beside := (*VENDORS[base.release.distribution].beside, *base.packages):
        argv.append(f"--include={','.join(beside)}")
    environment = {**means.site.environment(), "TMPDIR": str(temporary)}
    if epoch is not None:
        environment["SOURCE_DATE_EPOCH"] = str(epoch)
    status = stream([*argv, *words], means.log.line, stop=means.stop, environment=environment)
    if status:
        raise _failure(base, status, means)


def _failure(base: BaseImage, status: int, means: Means) -> BuildFailed | EngineError:
    tail = list(means.log.tail)
    text = "\n".join(tail)
    step = f"bootstrap {base.suite}"
    if "no space left on device" in text.lower():
        return DiskFull(
            f"base image {base.name}: no space is left in {means.scratch}",
            hint="free some space there, then run the same command again",
            tail=tail,
            log=means.log.path,
        )
    if _NETWORK(text):
        return NetworkFault(
            f"base image {base.name}: the distribution's archives cannot be reached: "
            + ", ".join(archives(default_sources(base.release)).values()),
            hint="check the network; behind a firewall, name mirrors or proxies in site.yaml",
            step=step,
            tail=tail,
            log=means.log.path,
        )
    if "unable to pick chroot mode" in text:
        return EngineError(
            f"base image {base.name}: mmdebstrap cannot work for an ordinary user here",
            hint="run ci/setup, which asks for newuidmap; /etc/subuid and /etc/subgid need a line too",
        )
    return BuildFailed(
        f"base image {base.name}: mmdebstrap ended with status {status}",
        step=step,
        tail=tail,
        log=means.log.path,
    )


def _bare(uri: str) -> str:
    """An address as it can be compared: unquoted, without credentials."""
    return urllib.parse.unquote(re.sub(r"^(\w+:/+)[^/@]*@", r"\1", uri))
