"""A cluster's user: an account without privileges, with a home and a working folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagefactory.testing.subject import SOMEBODY
from tests.engines.bench import Ended

# Root here may lack capabilities that Apptainer would give to root in a container, or need to build.
ORDINARY = ("--no-privs",) if os.getuid() == 0 else ()
FAKEROOT = ("--fakeroot",) if os.getuid() == 0 else ()


def apptainer(*words: str, status: int | None = 0) -> str:
    """Run the command, and return what it wrote."""
    done = subprocess.run(["apptainer", *words], capture_output=True, text=True, timeout=300)
    assert status in (None, done.returncode), f"apptainer {words}: {done.stderr}"
    return done.stdout


def build_definition(
    context: Path, image: str, sif: Path, base: Sequence[str], environment: Mapping[str, str] | None = None
) -> Path:
    """Have Apptainer build a rendered definition file by itself; the SIF file."""
    # Not compressed: that takes most of the time, and nothing here is about it.
    words = ["apptainer", "build", *FAKEROOT, "--mksquashfs-args", "-noI -noD -noF -noX", *base]
    done = subprocess.run(
        [*words, str(sif), f"{image}.def"],
        cwd=context,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    return sif


@dataclass(frozen=True)
class ClusterUser:
    """``home`` is its home folder, and where its commands start; ``shared`` is a folder that it can read."""

    uid: int
    gid: int
    home: Path
    shared: Path

    def given(self, file: Path) -> str:
        """A copy of a file, where the user can read it."""
        copy = self.shared / file.name
        shutil.copyfile(file, copy)
        copy.chmod(0o755)
        return str(copy)

    def run(self, *words: str, status: int | None = 0, **environment: str) -> Ended:
        """Run Apptainer as that user."""
        return self.command("apptainer", "--quiet", *words, status=status, **environment)

    def command(self, *words: str, status: int | None = 0, **environment: str) -> Ended:
        """Run any command as that user."""
        become = [
            *("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/passwd && exec "$@"'),
            *(str(self.shared / "passwd"), "setpriv"),
            *(f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups", "--inh-caps=-all"),
        ]
        done = subprocess.run(
            [*(become if os.getuid() == 0 else []), *words],
            cwd=self.home,
            env={"HOME": str(self.home), "PATH": os.environ["PATH"], "TERM": "dumb", **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert status in (None, done.returncode), f"{words}: {done.stdout}{done.stderr}"
        return Ended(done.returncode, done.stdout, done.stderr)


@contextlib.contextmanager
def as_cluster_user() -> Iterator[ClusterUser]:
    """This user; where that is root, an account that only its commands see, with a home of its own."""
    folder = Path(tempfile.mkdtemp(prefix="cluster-"))
    try:
        folder.chmod(0o755)
        uid, gid = SOMEBODY if os.getuid() == 0 else (os.getuid(), os.getgid())
        home = folder / "home"
        home.mkdir()
        if os.getuid() == 0:
            os.chown(home, uid, gid)
        account = f"researcher:x:{uid}:{gid}::{home}:/bin/sh\n"
        (folder / "passwd").write_text(account + Path("/etc/passwd").read_text())
        yield ClusterUser(uid, gid, home, folder)
    finally:
        shutil.rmtree(folder)
