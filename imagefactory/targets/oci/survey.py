"""One pass over everything an image's layers hold: what should not be there."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from imagefactory.system.redact import could_be_secret, known_secrets

SETUID_BITS = 0o6000
DPKG_STATUS = "var/lib/dpkg/status"
DPKG = "var/lib/dpkg/"
_DPKG_SUMS = re.compile(r"^var/lib/dpkg/info/[^/]+\.md5sums$")

# With the key behind it: programs that read keys hold the first line alone.
_PRIVATE_KEY = re.compile(rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\r?\n[A-Za-z0-9+/=\r\n :,-]{64}")
_SECRET_FILES = re.compile(
    r"(^|/)(\.netrc|\.pypirc|\.git-credentials|\.npmrc|\.pgpass|\.aws/credentials"
    r"|\.docker/config\.json|\.ssh/id_[a-z0-9]+|clouds\.yaml|ssh_host_[a-z0-9]+_key)$"
)
_EXAMPLES = re.compile(r"(^|/)(tests?|docs?|examples?)/")
_LEFTOVERS = (
    (re.compile(r"^var/lib/apt/lists/(?!(partial|lock|auxfiles)$)."), "apt list"),
    (re.compile(r"^var/cache/apt/.*\.(deb|bin)$"), "apt cache"),
    (re.compile(r"^(root|home/[^/]+)/\.cache/."), "cache"),
    (re.compile(r"^var/log/."), "log"),
    (re.compile(r"^(tmp|var/tmp)/."), "temporary file"),
    (re.compile(r"(^|/)pkgs/[^/]+\.(conda|tar\.bz2)$"), "conda's cache"),
    (re.compile(r"^(recipe|sources|build)(/|$)"), "build input"),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One path in one layer, without its leading slash.

    ``head`` holds the first bytes of a regular file, and all of dpkg's own files; ``capable`` says that
    running the file gives it Linux capabilities. ``md5`` is that of a whole file that may be a secret (see
    ``suspect``).
    """

    path: str
    mode: int
    is_file: bool
    head: bytes = b""
    capable: bool = False
    md5: str = ""


def suspect(path: str, head: bytes) -> bool:
    """Whether a file may be a secret by its name or its beginning."""
    return bool(_SECRET_FILES.search(path) or _PRIVATE_KEY.search(head))


def our_secrets() -> dict[str, bytes]:
    """Values of this machine's environment and site settings that must be in no image, by name."""
    kept = sorted((name, secret) for secret, name in known_secrets().items() if could_be_secret(secret))
    names = [name for name, _ in kept]
    return {
        name if names.count(name) == 1 else f"{name} {number}": secret.encode()
        for number, (name, secret) in enumerate(kept, 1)
    }


@dataclass
class Survey:
    """What one pass found; each list holds one short text per find."""

    secrets: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    setuid: list[str] = field(default_factory=list)
    packages: frozenset[str] = frozenset()  # that the base did not have, and no other package needs
    paths: dict[str, str] = field(default_factory=dict)  # where each was found, by its text

    def add(self, finds: list[str], path: str, texts: Iterable[str]) -> None:
        """Note what was found at a path."""
        for text in texts:
            finds.append(text)
            self.paths[text] = path


def survey(entries: Iterable[Entry], base_packages: Collection[str] = ()) -> Survey:
    """Look once at every entry that the base image did not bring; it had ``base_packages``."""
    seen = Survey()
    secrets = our_secrets()
    suspects: list[Entry] = []
    sums: list[bytes] = []
    for entry in entries:
        if entry.path.rpartition("/")[2].startswith(".wh."):
            continue  # marks a deletion (OCI image-spec, layer.md)
        if entry.path == DPKG_STATUS:
            packages = _packages(entry.head)
            needed = frozenset(other for name in packages for other in packages[name] - {name})
            seen.packages = frozenset(packages).difference(base_packages, needed)
        elif _DPKG_SUMS.search(entry.path):
            sums.append(entry.head)
        if entry.is_file and (entry.capable or entry.mode & SETUID_BITS):
            seen.add(seen.setuid, entry.path, [f"{entry.path} ({entry.mode:o})"])
        if entry.is_file and suspect(entry.path, entry.head) and not _EXAMPLES.search(entry.path):
            suspects.append(entry)
        if entry.is_file:
            seen.secrets += _our_values(entry, secrets)  # which nobody can waive: it has no path
        seen.add(seen.leftovers, entry.path, _leftovers(entry))
    shipped = _shipped(sums) if suspects else set()
    for entry in suspects:
        if (_unmerged(entry.path), entry.md5) not in shipped:
            seen.add(seen.secrets, entry.path, _secrets(entry))
    return seen


def _secrets(entry: Entry) -> Iterator[str]:
    if _SECRET_FILES.search(entry.path):
        yield f"file {entry.path}"
    if _PRIVATE_KEY.search(entry.head):
        yield f"private key in {entry.path}"


def _our_values(entry: Entry, ours: dict[str, bytes]) -> Iterator[str]:
    for name, value in ours.items():
        if value in entry.head:
            yield f"the value of this machine's {name} in {entry.path}"


def _shipped(sums: Iterable[bytes]) -> set[tuple[str, str]]:
    """Each file of the distribution's packages with its md5, as dpkg's database has it (deb-md5sums(5))."""
    lines = (line for content in sums for line in content.decode("utf-8", "replace").splitlines())
    pairs = (line.partition("  ") for line in lines)
    return {(_unmerged(path), md5) for md5, _, path in pairs}


def _unmerged(path: str) -> str:
    """A path as packages name it that do not know of a merged /usr, or do."""
    return path.removeprefix("usr/")


def _leftovers(entry: Entry) -> Iterator[str]:
    if entry.is_file or "/" not in entry.path:
        for rule, what in _LEFTOVERS:
            if rule.search(entry.path):
                yield f"{what} {entry.path}"


def _packages(status: bytes) -> dict[str, frozenset[str]]:
    """The installed packages in dpkg's status file (deb-control(5)), and what each depends on."""
    packages = {}
    for block in status.decode("utf-8", "replace").split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): *(.*)$", block, re.MULTILINE))
        if fields.get("Status") == "install ok installed":
            needs = " ".join(fields.get(kind, "") for kind in ("Depends", "Pre-Depends", "Recommends"))
            packages[fields.get("Package", "")] = frozenset(re.findall(r"[a-z0-9][a-z0-9+.-]+", needs))
    return packages
