"""Things from outside that try all that they can: a source distribution, a repository, a Debian package.

Each runs a ``script`` for a shell wherever somebody lets it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

from tests.upstreams.index import Package, make_sdist
from tests.upstreams.repository import make_repository

_RUN = """\
import subprocess, sys
print(subprocess.run(["sh", "probe"], capture_output=True, text=True).stdout)
"""
_SETUP = """\
from setuptools import setup
setup(name="zz-hostile", version="1.0")
"""
_PROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "zz-hostile"
version = "1.0"
dynamic = ["dependencies"]
"""
_BACKEND = """\
import os
def prepare_metadata_for_build_wheel(folder, settings=None):
    os.mkdir(folder + "/zz_hostile-1.0.dist-info")
    with open(folder + "/zz_hostile-1.0.dist-info/METADATA", "w") as out:
        out.write("Metadata-Version: 2.1\\nName: zz-hostile\\nVersion: 1.0\\n")
    return "zz_hostile-1.0.dist-info"
"""
# It goes on after the build, and changes whatever uv writes.
_FORGE = """\
import glob, os
if os.fork() == 0:
    os.setsid()
    os.closerange(0, 256)  # or uv waits for its end
    while True:
        for file in glob.glob("/job/pylock.toml"):
            text = open(file).read()
            if 'sha256 = "' in text and 'sha256 = "0000' not in text:
                with open("/job/forged", "w") as out:
                    out.write(text.replace('sha256 = "', 'sha256 = "0000'))
                os.replace("/job/forged", file)
"""
_HOOKS = ("post-checkout", "pre-receive", "update", "post-update", "reference-transaction", "pre-auto-gc")
_RUNS = (
    *(("core", "fsmonitor"), ("core", "sshCommand"), ("core", "gitProxy"), ("core", "editor")),
    *(("core", "pager"), ("core", "alternateRefsCommand"), ("uploadpack", "packObjectsHook")),
    *(('filter "evil"', "smudge"), ('filter "evil"', "clean"), ('diff "evil"', "textconv")),
    *(("credential", "helper"), ("gpg", "program")),
)
_POSTINST = """\
#!/bin/sh
{{
{script}
}} >/etc/canary-report 2>&1
"""


def hostile_sdist(script: str, *, old: bool = False, fails: bool = False, forges: bool = False) -> Package:
    """A source distribution that runs the script where its metadata are asked for, ``old`` with a setup.py.

    With ``fails`` that is all that it does; with ``forges`` it changes uv's answer.
    """
    code = _RUN + ("sys.exit('that is all')\n" if fails else "")
    files = {"PKG-INFO": "Metadata-Version: 1.0\nName: zz-hostile\nVersion: 1.0\n", "probe": script}
    if old:
        files["setup.py"] = code + _SETUP
    else:
        files |= {"pyproject.toml": _PROJECT, "backend.py": code + _BACKEND + (_FORGE if forges else "")}
    package = make_sdist("zz-hostile", "1.0", {"zz.py": ""}, ())
    return dataclasses.replace(package, data=_packed({f"zz_hostile-1.0/{n}": t for n, t in files.items()}))


def _packed(files: Mapping[str, str]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


def hostile_repository(folder: Path, script: str) -> str:
    """A repository that names the script wherever git may run, or read, what a repository names; its
    commit.
    """
    commit = make_repository(
        folder,
        {
            ".gitattributes": "* filter=evil diff=evil merge=evil export-subst\n*.txt export-ignore\n",
            ".gitmodules": '[submodule "x"]\n\tpath = x\n\turl = https://git.example.org/x.git\n',
            "a.txt": "$Format:%H$\n",
            "run.sh": "#!/bin/sh\n",
        },
    )
    probe = folder / "probe"
    probe.write_text(f"#!/bin/sh\n{script}")
    probe.chmod(0o755)
    (folder / "hooks").mkdir(exist_ok=True)
    for hook in _HOOKS:
        (folder / "hooks" / hook).symlink_to(probe)
    with (folder / "config").open("a") as config:
        for section, key in _RUNS:
            config.write(f"[{section}]\n\t{key} = {probe}\n")
        config.write(f"[core]\n\thooksPath = {folder / 'hooks'}\n")
    return commit


def make_deb(folder: Path, name: str, script: str) -> Path:
    """A Debian package that runs the script when it is installed, and writes what it says to
    /etc/canary-report.
    """
    tree = folder / f"{name}-tree"
    (tree / "DEBIAN").mkdir(parents=True)
    control = {
        "Package": name,
        "Version": "1.0",
        "Architecture": "all",
        "Maintainer": "Nobody <n@example.org>",
    }
    lines = [f"{key}: {value}" for key, value in {**control, "Description": "a canary"}.items()]
    (tree / "DEBIAN" / "control").write_text("\n".join([*lines, ""]))
    (tree / "DEBIAN" / "postinst").write_text(_POSTINST.format(script=script))
    (tree / "DEBIAN" / "postinst").chmod(0o755)
    deb = folder / f"{name}_1.0_all.deb"
    words = ["dpkg-deb", "--root-owner-group", "--build", str(tree), str(deb)]
    subprocess.run(words, check=True, capture_output=True)
    return deb


def make_archive(folder: Path, suite: str, deb: Path) -> None:
    """An archive as Debian's, with one package (https://wiki.debian.org/DebianRepository/Format)."""
    place = folder / "pool" / deb.name
    place.parent.mkdir(parents=True)
    place.write_bytes(deb.read_bytes())
    words = ["dpkg-deb", "--field", str(deb)]
    control = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
    digest = hashlib.sha256(place.read_bytes()).hexdigest()
    packages = folder / "dists" / suite / "main" / "binary-amd64" / "Packages"
    packages.parent.mkdir(parents=True)
    packages.write_text(
        f"{control}\nFilename: pool/{deb.name}\nSize: {place.stat().st_size}\nSHA256: {digest}\n"
    )
    digest = hashlib.sha256(packages.read_bytes()).hexdigest()
    release = f"Suite: {suite}\nCodename: {suite}\nArchitectures: amd64\nComponents: main\nSHA256:\n"
    release += f" {digest} {packages.stat().st_size} main/binary-amd64/Packages\n"
    (folder / "dists" / suite / "Release").write_text(release)
