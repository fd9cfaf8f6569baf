"""Two users with one store: neither reads, writes or waits for what the other put in the way."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engines.bench import REPOSITORY

pytestmark = pytest.mark.skipif(
    os.getuid() != 0 or shutil.which("setpriv") is None, reason="only root can work as two other users"
)
OURS, THEIRS = 12001, 12002
DATA = b"an input\n"
SHA256 = hashlib.sha256(DATA).hexdigest()
WORDS = f"""
import hashlib, os, sys
from pathlib import Path
from imagefactory.errors import FactoryError
from imagefactory.system.store import Store, place_file
DATA, SHA256 = {DATA!r}, {SHA256!r}
folder, home = Path(sys.argv[1]), Path(sys.argv[2])
store = Store(folder / "store")
path, partial = store.path(SHA256), store.folder / "partial"
def put(data=DATA):
    with store.draft(SHA256) as draft:
        draft.write_bytes(data)
        store.take(draft, SHA256)
def opened(folder):
    folder.mkdir()
    folder.chmod(0o1777)
def said(work):
    try:
        work()
        print("fine")
    except FactoryError as error:
        print(f"{{error.message}} [{{error.hint}}]")
"""


@pytest.fixture(scope="session", autouse=True)
def engines() -> None:
    """These tests need no engine."""


def as_user(user: int) -> list[str]:
    """The words that start Python as another user."""
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", sys.executable]


@dataclass(frozen=True)
class Place:
    """A folder with a store that all may write to, and a home for each of two users."""

    folder: Path

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def file(self) -> Path:
        return self.store / "sha256" / SHA256[:2] / SHA256

    def home(self, user: int) -> Path:
        return self.folder / f"home-{user}"

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "PYTHONPATH": str(self.folder / "code"), "HOME": "/"}

    def words(self, user: int, text: str) -> list[str]:
        return ["-c", WORDS + textwrap.dedent(text), str(self.folder), str(self.home(user))]

    def run(self, user: int, text: str, umask: int = 0o022) -> str:
        """Run Python as a user; what it printed."""
        done = subprocess.run(
            [*as_user(user), *self.words(user, text)],
            capture_output=True,
            text=True,
            timeout=30,
            umask=umask,
            cwd="/",
            env=self.environment,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip().replace(str(self.store), "STORE")


@pytest.fixture
def place() -> Iterator[Place]:
    """Not below pytest's folders, which are for root alone."""
    with tempfile.TemporaryDirectory(prefix="zz-shared-") as folder:
        yield _place(Path(folder))


def _place(folder: Path) -> Place:
    folder.chmod(0o711)
    shutil.copytree(REPOSITORY / "imagefactory", folder / "code" / "imagefactory")
    place = Place(folder)
    for user in (OURS, THEIRS):
        place.home(user).mkdir(mode=0o700)
        os.chown(place.home(user), user, user)
    place.store.mkdir()
    place.store.chmod(0o1777)
    if subprocess.run([*as_user(OURS), "-c", ""], capture_output=True, cwd="/", check=False).returncode:
        pytest.skip("other users cannot run this Python")
    return place


FETCH = "said(put)"
PLACE = """
    target = home / "placed"
    said(lambda: place_file(store, SHA256, target, "the input", 0))
    if target.exists():
        print(target.read_bytes() == DATA, target.stat().st_uid == os.getuid(), target.samefile(path))
"""


def test_what_one_fetched_the_other_uses_as_a_copy(place: Place) -> None:
    """Which the first can no longer change."""
    assert place.run(THEIRS, FETCH) == "fine"
    assert place.run(OURS, PLACE) == "fine\nTrue True False"
    assert place.run(THEIRS, PLACE) == "fine\nTrue True True"
    place.run(THEIRS, 'path.write_bytes(b"other one")')
    assert (place.home(OURS) / "placed").read_bytes() == DATA
    place.home(OURS).joinpath("placed").unlink()
    told = place.run(OURS, PLACE)
    assert told == (
        f"the input is damaged: STORE/sha256/{SHA256[:2]}/{SHA256} has another content "
        "[it belongs to user 12002, who can remove it: until then name another store in site.yaml]"
    )
    # They mend it.
    assert place.run(THEIRS, "store.remove(*store.damaged())\nsaid(put)") == "fine"
    assert place.run(OURS, PLACE) == "fine\nTrue True False"


def test_both_may_fetch_the_same_whatever_their_umasks_are(place: Place) -> None:
    assert place.run(THEIRS, FETCH, umask=0o077) == "fine"
    before = place.file.stat()
    assert place.run(OURS, FETCH, umask=0o002) == "fine"  # the first one's stays
    after = place.file.stat()
    assert (after.st_ino, after.st_uid, stat.S_IMODE(after.st_mode)) == (before.st_ino, THEIRS, 0o644)
    for user in (OURS, THEIRS):
        assert stat.S_IMODE((place.store / "partial" / str(user)).stat().st_mode) == 0o700
    assert stat.S_IMODE(place.file.parent.stat().st_mode) == 0o1777
    assert (
        place.run(OURS, "print([f.removable for f in store.files()], list(store.damaged()))") == "[False] []"
    )


def test_neither_changes_what_is_the_others(place: Place) -> None:
    """Its time, its mode, its being there."""
    place.run(THEIRS, "put()\nos.utime(path, (1, 1))\npath.chmod(0o666)")
    assert place.run(OURS, PLACE) == "fine\nTrue True False"
    facts = place.file.stat()
    assert (facts.st_mtime, stat.S_IMODE(facts.st_mode)) == (1, 0o666)
    assert "cannot write" in place.run(OURS, "said(lambda: store.remove(next(store.files())))")
    with_draft = """
        with store.draft("0" * 64) as draft:
            draft.write_bytes(DATA)
            os.utime(draft, (1, 1))
    """
    place.run(THEIRS, with_draft)
    place.run(OURS, "store.drop_partial(60)")
    assert (place.store / "partial" / str(THEIRS) / ("0" * 64)).exists()


# What the other one puts in the way, before the first has used the store at all.
TRAPS: dict[str, tuple[str, str]] = {
    "a draft": ("opened(partial); (partial / SHA256).write_bytes(b'evil')", "fine"),
    "a link as a draft": ("opened(partial); (partial / SHA256).symlink_to(VICTIM)", "fine"),
    "a pipe as a draft": ("opened(partial); os.mkfifo(partial / SHA256)", "fine"),
    "a link as a lock": ("opened(partial); (partial / f'{SHA256}.lock').symlink_to(VICTIM)", "fine"),
    "a pipe as a lock": ("opened(partial); os.mkfifo(partial / f'{SHA256}.lock')", "fine"),
    "our folder": (
        "(partial / '12001').mkdir(parents=True)",
        "STORE/partial/12001: it belongs to user 12002",
    ),
    "our folder, a link": (
        "partial.mkdir(); (partial / '12001').symlink_to(VICTIM.parent)",
        "STORE/partial/12001: ",
    ),
    "our folder, a pipe": (
        "partial.mkdir(); os.mkfifo(partial / '12001')",
        "STORE/partial/12001: Not a directory",
    ),
    "the drafts, a link": ("partial.symlink_to(VICTIM.parent)", "STORE/partial/12001: "),
    "the files, a link": (
        "(store.folder / 'sha256').symlink_to(VICTIM.parent)",
        f"STORE/sha256/{SHA256[:2]}",
    ),
    "a folder, a link": (
        "opened(path.parent.parent); path.parent.symlink_to(VICTIM.parent)",
        f"STORE/sha256/{SHA256[:2]}",
    ),
    "a file, a link": (
        "opened(path.parent.parent); opened(path.parent); path.symlink_to(VICTIM)",
        f"STORE/sha256/{SHA256[:2]}/{SHA256} is no file",
    ),
    "a file, a pipe": (
        "opened(path.parent.parent); opened(path.parent); os.mkfifo(path)",
        f"STORE/sha256/{SHA256[:2]}/{SHA256} is no file",
    ),
    "a closed folder": ("opened(path.parent.parent); path.parent.mkdir(mode=0o700)", "Permission denied"),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_nothing_that_the_other_plants_is_followed_or_waited_for(place: Place, trap: str) -> None:
    words, told = TRAPS[trap]
    victim = place.home(OURS) / SHA256
    victim.write_bytes(b"ours")
    victim.chmod(0o600)
    os.chown(victim, OURS, OURS)
    place.run(THEIRS, f"VICTIM = Path({str(victim)!r})\n{words}")
    said = place.run(OURS, FETCH)
    assert told in said
    assert "\n" not in said
    assert (victim.read_bytes(), stat.S_IMODE(victim.stat().st_mode)) == (b"ours", 0o600)
    assert [path.name for path in place.home(OURS).iterdir()] == [SHA256]
    if said == "fine":
        assert place.run(OURS, PLACE) == "fine\nTrue True True"


@pytest.mark.parametrize(
    "swap",
    [
        "path.unlink(); path.symlink_to(OTHER)",
        "path.unlink(); os.mkfifo(path)",
        "path.write_bytes(b'evil')",
        "path.parent.rename(path.parent.parent / 'x'); path.parent.symlink_to(OTHER.parent)",
        "path.chmod(0)",
    ],
)
def test_what_the_other_swaps_later_is_found(place: Place, swap: str) -> None:
    place.run(THEIRS, "put()\nOTHER = home / SHA256\nOTHER.write_bytes(b'evil')\n" + swap)
    said = place.run(OURS, PLACE)
    assert said.startswith(("the input is damaged: STORE/", "the input is not there: STORE/"))
    assert "\n" not in said
    assert place.run(OURS, "store.drop_partial(0)\nprint(len([*store.files()]) < 2)") == "True"


def while_the_other_works(place: Place, ours: str, theirs: str) -> str:
    """What we print, while the other does something without end."""
    evil = subprocess.Popen([*as_user(THEIRS), *place.words(THEIRS, theirs)], env=place.environment, cwd="/")
    try:
        return place.run(OURS, ours)
    finally:
        evil.kill()
        evil.wait()


def test_whoever_changes_a_file_while_it_is_used_harms_nobody(place: Place) -> None:
    """What stands in the build is what was hashed, or nothing does."""
    place.run(THEIRS, "put()")
    evil = """
        import time
        with path.open("r+b") as file:
            while True:
                for data in (b"evil one\\n", DATA):
                    os.pwrite(file.fileno(), data, 0)
                    time.sleep(0.001)
    """
    ours = """
        import time
        good = bad = 0
        end = time.monotonic() + 20
        while (good < 100 or bad < 100) and time.monotonic() < end:
            target = home / str(good + bad)
            try:
                place_file(store, SHA256, target, "the input", 0)
                assert target.read_bytes() == DATA, target.read_bytes()
                good += 1
            except FactoryError:
                assert not target.exists()
                bad += 1
        print(good >= 100, bad >= 100)
    """
    assert while_the_other_works(place, ours, evil) == "True True"
