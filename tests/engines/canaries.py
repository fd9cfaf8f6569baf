"""Canaries: secrets that a test plants, and looks for in all that a run makes, writes and starts.

::

    canaries = Canaries()
    password = canaries.plant("proxy password")   # put it where a user would
    with Watch(canaries) as watch:                # sees the programs that run meanwhile
        ended = bench.run("build", image)
    canaries.search_text("screen", ended.text)    # one line for each output; a new one needs one more
    canaries.search_folder(bench.build)
    assert canaries.found == [] and watch.found == []

Every canary holds letters and digits that are nobody else's, and signs beside them that addresses encode: so
one look finds it raw, percent-encoded, escaped and quoted, and three more find it in base64, wherever it
stands in a text that was encoded.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import io
import json
import os
import secrets
import subprocess
import tarfile
import urllib.parse
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.engines.bench import docker
from tests.looking import Looking

USER = "institute-user"
_PAUSE = 0.002  # seconds between two looks at all processes
_PIECE = 16 << 20


@dataclass
class Canaries:
    """``found`` lists where which one was, in words; ``files`` counts what archives held."""

    found: list[str] = field(default_factory=list)
    files: int = 0
    _needles: dict[bytes, str] = field(default_factory=dict)
    _flock: str = field(default_factory=lambda: f"zz{secrets.token_hex(5)}")  # how each of them begins

    def plant(self, kind: str) -> str:
        """A secret of a new kind."""
        core = f"{self._flock}{secrets.token_hex(5)}"
        self._needles |= dict.fromkeys(_looks(core), kind)
        return f"{core}@/+"

    def seen_in(self, data: bytes) -> set[str]:
        """The kinds of all canaries in it."""
        if not any(needle in data for needle in _looks(self._flock)):
            return set()
        return {kind for needle, kind in self._needles.items() if needle in data} or {"a part of one"}

    def search(self, where: str, data: bytes) -> None:
        """Look at some bytes, at what they are the gzip of, and at each member of what is a tar archive."""
        self.found += [f"{kind} in {where}" for kind in sorted(self.seen_in(data))]
        if data[:2] == b"\x1f\x8b":
            with contextlib.suppress(OSError, EOFError, zlib.error):
                self.search(where, gzip.decompress(data))
        elif data[257:262] == b"ustar":
            with contextlib.suppress(tarfile.TarError):
                self.search_archive(where, data)

    def search_text(self, where: str, text: str) -> None:
        """Look at what was written on a screen."""
        self.search(where, text.encode())

    def search_folder(self, folder: Path, but: Callable[[Path], bool] = lambda path: False) -> int:
        """Look at the name and content of every file below a folder; how many there were."""
        files = [path for path in folder.rglob("*") if path.is_symlink() or path.is_file()]
        for path in files:
            if but(path):
                continue
            self.search(f"the name of {path}", str(path).encode())
            if path.is_symlink():
                self.search(f"the target of {path}", os.fsencode(path.readlink()))
            else:
                self.search(str(path), path.read_bytes())
        return len(files)

    def search_archive(self, where: str, data: bytes) -> int:
        """Look at every member of a tar archive; how many files there were."""
        before = self.files
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive:
                name = f"{where}: {member.name}"
                self.search(name, f"{member.name} {member.linkname} {member.pax_headers}".encode())
                content = archive.extractfile(member) if member.isfile() else None
                if content:
                    self.search(name, content.read())
                    self.files += 1
        return self.files - before

    def search_image(self, reference: str) -> int:
        """Look at an engine's image: its configuration, its history, and each file of each layer."""
        self.search_text(f"docker inspect {reference}", docker("image", "inspect", reference))
        self.search_text(f"docker history {reference}", docker("history", "--no-trunc", reference))
        saved = subprocess.run(["docker", "save", reference], capture_output=True, check=True).stdout
        return self.search_archive(reference, saved)

    def search_sif(self, file: Path, scratch: Path) -> int:
        """Look at a SIF file, as it is and unpacked below ``scratch``."""
        self.search(str(file), file.read_bytes())
        listed = subprocess.run(["apptainer", "sif", "list", str(file)], capture_output=True, text=True)
        (line,) = (line for line in listed.stdout.splitlines() if "Squashfs" in line)
        offset = line.split("|")[3].split("-")[0].strip()
        words = ["unsquashfs", "-no-progress", "-quiet", "-no-xattrs", "-o", offset, "-d", str(scratch)]
        subprocess.run([*words, str(file)], check=True, stdout=subprocess.DEVNULL)
        return self.search_folder(scratch)

    def search_disk(self, file: Path, scratch: Path, control: bytes) -> bool:
        """Look at every block of a virtual disk; whether it holds ``control``, as it should."""
        raw = scratch / "searched.raw"
        subprocess.run(["qemu-img", "convert", "-O", "raw", file, raw], check=True)
        seen, before, at = False, b"", 0
        with raw.open("rb") as disk:
            size = os.fstat(disk.fileno()).st_size
            while at < size:
                try:
                    start = os.lseek(disk.fileno(), at, os.SEEK_DATA)
                except OSError:  # the rest is a hole
                    break
                before = before if start == at else b""
                data = before + os.pread(disk.fileno(), _PIECE, start)
                self.found += [f"{kind} in {file}" for kind in sorted(self.seen_in(data))]
                seen = seen or control in data
                at, before = start + len(data) - len(before), data[-1024:]
        raw.unlink()
        return seen


def with_login(url: str, password: str) -> str:
    return url.replace("://", f"://{USER}:{urllib.parse.quote(password, safe='')}@")


def a_home(home: Path, canaries: Canaries) -> dict[str, str]:
    """Fill a home folder with the secrets that people have there; the variables that they set."""
    login = base64.b64encode(f"robot:{canaries.plant('registry login')}".encode()).decode()
    proxy = with_login("http://127.0.0.1:9", canaries.plant("proxy password in Docker's settings"))
    settings = {
        "auths": {"registry.example.org": {"auth": login}},
        "proxies": {"default": {"httpProxy": proxy, "httpsProxy": proxy}},
    }
    cloud = {"clouds": {"ours": {"auth": {"password": canaries.plant("password in clouds.yaml")}}}}
    key = canaries.plant("signing key")
    files = {
        ".docker/config.json": json.dumps(settings),
        ".config/openstack/clouds.yaml": json.dumps(cloud),
        ".cosign/cosign.key": f"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n{key}\n",
        ".netrc": f"machine localhost login {USER} password {canaries.plant('password in .netrc')}\n",
    }
    for name, text in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
        (home / name).chmod(0o600)
    named = (
        *("OS_PASSWORD", "COSIGN_PASSWORD", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "REGISTRY_PASSWORD"),
        *("APPTAINER_DOCKER_PASSWORD", "SINGULARITY_DOCKER_PASSWORD", "DOCKER_AUTH_CONFIG"),
    )
    return {
        "HOME": str(home),
        "DOCKER_CONFIG": str(home / ".docker"),
        "OS_CLOUD": "ours",
        "COSIGN_KEY": str(home / ".cosign" / "cosign.key"),
        **{name: canaries.plant(name) for name in named},
    }


def _looks(core: str) -> set[bytes]:
    """How a word of letters and digits looks in any text, and in base64 at all three alignments, where it is
    the same with both alphabets.
    """
    data, found = core.encode(), {core.encode()}
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + data)
        found.add(encoded[-(-8 * before // 6) : 8 * (before + len(data)) // 6])
    return found


@dataclass(frozen=True, order=True)
class Sight:
    """A canary in the ``place`` (``cmdline`` or ``environ``) of a program that those ``above`` it started."""

    kind: str
    place: str
    program: str
    above: str = ""


class Watch(Looking):
    """Looks at every process that descends from this one, while the block runs; ``pause`` is that between two
    looks, in seconds.

    ``found`` lists the canaries that were seen, ``programs`` the words of all that ran. The environment of a
    process that this one started is not looked at, for the test gave it that.
    """

    def __init__(self, canaries: Canaries, pause: float = _PAUSE) -> None:
        super().__init__(pause)
        self.found: list[Sight] = []
        self.programs: set[tuple[str, ...]] = set()
        self.looks = 0
        self._canaries = canaries
        self._ours = {os.getpid()}
        self._others = set(_processes()) - self._ours
        self._known: set[tuple[int, bytes, bytes]] = set()
        self._given: set[bytes] = set()
        self._lines: dict[int, str] = {}  # of each process, its words and those above it

    def ran(self, program: str) -> bool:
        """Whether a program of that name was seen."""
        return any(word.rpartition("/")[2] == program for words in self.programs for word in words)

    def look(self) -> None:
        """Look at all that descends from this process now."""
        self.looks += 1
        now = set(_processes())
        self._others &= now  # an identifier may be given again
        self._ours &= now
        for process in sorted(now - self._others - {os.getpid()}):
            parent = _parent(process)
            # What lost its parent stays whose it was.
            if parent in self._ours or process in self._ours:
                self._ours.add(process)
                self._look_at(process, parent or 0)
            elif parent == 0 or parent in self._others:
                self._others.add(process)

    def _look_at(self, process: int, parent: int) -> None:
        words = _read(process, "cmdline")
        if not words:
            return
        if parent == os.getpid():
            self._given.add(words)
        # Between fork and exec a child still has its parent's words, and its environment.
        environment = b"" if words in self._given else _read(process, "environ")
        if (process, words, environment) in self._known:
            return
        self._known.add((process, words, environment))
        named = tuple(word.decode(errors="replace") for word in words.split(b"\0") if word)
        self.programs.add(named)
        above = self._lines.get(parent) or self._lines.get(process, "")
        self._lines[process] = f"{' '.join(named)}\n{above}"
        for place, data in (("cmdline", words), ("environ", environment)):
            for kind in self._canaries.seen_in(data):
                self.found.append(Sight(kind, place, " ".join(named), above))


def _processes() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdecimal())  # noqa: PTH208  # it is fast


def _parent(process: int) -> int | None:
    stat = _read(process, "stat")
    return int(stat.rpartition(b")")[2].split()[1]) if stat else None


def _read(process: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{process}/{name}").read_bytes()
    except OSError:
        return b""


def programs_of(sights: Iterable[Sight]) -> set[str]:
    """What was seen, a line each."""
    return {f"{sight.kind} in the {sight.place} of {sight.program}" for sight in sights}
