"""Secrets of every kind are planted where users have them. None is in what a run makes, writes and starts."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import time
import urllib.parse
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from uv import find_uv_bin

from tests.engines.bench import Bench, Ended, docker, images
from tests.engines.canaries import USER, Canaries, Watch, a_home, programs_of, with_login
from tests.engines.test_site import unreachable_elsewhere
from tests.upstreams.index import Package, make_index, make_wheel
from tests.upstreams.repository import make_repository
from tests.upstreams.server import Proxy, Upstream

MIRRORED = "https://index.example.org/simple"
SAYS_ENVIRONMENT = [{"name": "environment", "command": ["env"], "output": ["PATH="], "varies": ["^.*$"]}]
ARCHIVE = b"an archive behind the proxy\n"
SOURCE = {
    "data": {"url": "http://files.test/data-1.0.txt", "sha256": hashlib.sha256(ARCHIVE).hexdigest()},
}


@dataclass
class Run:
    """What was planted, seen and found in a whole day's work."""

    bench: Bench
    canaries: Canaries
    watch: Watch
    screens: dict[str, Ended] = field(default_factory=dict)
    searched: dict[str, int] = field(default_factory=dict)

    def command(self, *words: str, status: int = 0, **environment: str) -> Ended:
        """Run a command and look at all that it wrote on the screen."""
        ended = self.bench.run(*words, status=status, timeout=600, **environment)
        name = " ".join(words)
        self.screens[name] = ended
        self.canaries.search_text(f"the screen of imagefactory {name}", ended.text)
        return ended


def uv_wheel() -> Package:
    """The uv that is here, for an index that has nothing else from outside."""
    binary = Path(find_uv_bin())
    version = subprocess.run([binary, "--version"], capture_output=True, text=True).stdout.split()[1]
    info, tag = f"uv-{version}.dist-info", "py3-none-manylinux_2_17_x86_64"
    metadata = f"Metadata-Version: 2.1\nName: uv\nVersion: {version}\n".encode()
    files = {
        f"uv-{version}.data/scripts/uv": binary.read_bytes(),
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n".encode(),
        f"{info}/RECORD": b"",
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return Package("uv", version, f"uv-{version}-{tag}.whl", buffer.getvalue(), metadata)


@pytest.fixture(scope="module")
def run(module_bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A day's work, with every secret in its place; then everything is searched."""
    bench, folder, canaries = module_bench, tmp_path_factory.mktemp("canaries"), Canaries()
    passwords = {
        kind: canaries.plant(kind)
        for kind in ("proxy password", "index password", "mirror password", "git password")
    }
    variables = a_home(folder / "home", canaries)
    netrc = (folder / "home" / ".netrc").read_text().split()[-1]
    commit = make_repository(folder / "git" / "code.git", {"README": "a repository with a password\n"})
    (folder / "files").mkdir()
    (folder / "files" / "data-1.0.txt").write_bytes(ARCHIVE)
    code = "def main():\n    print('it runs')\n"
    app = make_wheel("zz-app", "1.0", {"zz_app.py": code}, ["zz-mine", "zz-theirs"], ["zz-app = zz_app:main"])
    make_index(folder / "usual" / "simple", [app, uv_wheel()])
    for name in ("mine", "theirs"):
        make_index(folder / name / "simple", [make_wheel(f"zz-{name}", "1.0", {f"zz_{name}.py": "x = 1\n"})])
    with (
        Upstream(folder / "usual") as usual,
        Upstream(folder / "mine") as mine,
        Upstream(folder / "theirs") as theirs,
        Upstream(folder / "mine") as closed,  # of which uv has nothing in its cache
        Upstream(folder / "files") as files,
        Upstream(folder / "git") as git,
        Proxy({"files.test": files}, USER, passwords["proxy password"]) as proxy,
        Watch(canaries) as watch,
    ):
        usual.require("/", USER, passwords["index password"])
        mine.require("/", USER, passwords["mirror password"])
        theirs.require("/", USER, netrc)
        git.require("/", USER, passwords["git password"])
        closed.require("/", USER, "another")
        by_name = theirs.url.replace("127.0.0.1", "localhost") + "/simple"
        site = {
            "python_index": with_login(usual.url, passwords["index password"]) + "/simple",
            "mirrors": {
                MIRRORED: with_login(mine.url, passwords["mirror password"]) + "/simple",
                "https://git.example.org": with_login(git.url, passwords["git password"]),
            },
            "store": str(folder / "store"),
        }
        (bench.root / "site.yaml").write_text(json.dumps(site))
        bench.environment = {
            **variables,
            "IMAGEFACTORY_STORE": None,
            "http_proxy": proxy.url,
            "https_proxy": proxy.url,
            "no_proxy": f"127.0.0.1,localhost,{unreachable_elsewhere()}",
        }
        pip = {
            "packages": ["zz-app"],
            "indexes": {
                "mine": {"url": MIRRORED, "packages": ["zz-mine"]},
                "theirs": {"url": by_name, "packages": ["zz-theirs"]},
            },
        }
        install = "cp /sources/data/data-1.0.txt /usr/share/data\nenv | tee /usr/share/environment"
        code_at = {"git": "https://git.example.org/code.git", "commit": commit}
        inputs: dict[str, Any] = {"apt": ["hello"], "pip": pip, "sources": {**SOURCE, "code": code_at}}
        whole = Run(bench, canaries, watch)
        image = bench.recipe("canary", install, inputs=inputs, commands=["zz-app"], tests=SAYS_ENVIRONMENT)
        _work(whole, image, folder)
        bench.recipe("canary-fails", "env\nexport\nexit 3")
        whole.command("build", f"{image}-fails", "--verbose", "--json", status=1)
        dead = with_login("http://127.0.0.1:9", canaries.plant("password of a dead proxy"))
        data = {"data": {**SOURCE["data"], "sha256": "0" * 64}}
        bench.recipe("canary-cut", inputs={"sources": data})
        whole.command("fetch", f"{image}-cut", "--verbose", status=1, http_proxy=dead)
        wrong = with_login(closed.url, canaries.plant("wrong password")) + "/simple"
        (bench.root / "site.yaml").write_text(json.dumps({**site, "mirrors": {MIRRORED: wrong}}))
        bench.recipe("canary-refused", inputs={"pip": pip})
        whole.command("lock", f"{image}-refused", "--verbose", status=1)
        assert all(server.requests for server in (usual, mine, theirs, closed, git))
        assert "GET http://files.test/data-1.0.txt" in proxy.requests
    _search(whole, image, folder)
    return whole


def _work(run: Run, image: str, folder: Path) -> None:
    run.command("lock", image, "--verbose")
    run.command("fetch", image, "--verbose")
    run.command("build", image, "--format", "containers", "--verbose")
    run.command("test", image, "--json")
    run.command("bundle", image, "--to", str(folder / "canary.bundle.tar"))
    for words in (("list", "--json"), ("show", image, "--json"), ("plan", image, "--json"), ("show", image)):
        run.command(*words)


def _search(run: Run, image: str, folder: Path) -> None:
    canaries, bench = run.canaries, run.bench
    ours = {docker("image", "ls", "-q", name).strip(): name for name in images() if image in name}
    run.searched["images"] = sum(canaries.search_image(name) for name in ours.values())
    (sif,) = (bench.build / image).glob("*.sif")
    run.searched["SIF file"] = canaries.search_sif(sif, folder / "unpacked")
    bundle = folder / "canary.bundle.tar"
    run.searched["bundle"] = canaries.search_archive("bundle", bundle.read_bytes())
    for name, place in (
        ("build", bench.build),
        ("recipes", bench.root / "recipes"),
        ("store", folder / "store"),
    ):
        run.searched[name] = canaries.search_folder(place)


def test_nothing_that_is_made_or_shown_holds_one(run: Run) -> None:
    assert run.canaries.found == []


def test_all_of_it_was_looked_at(run: Run) -> None:
    few = {"images": 100, "SIF file": 1000, "bundle": 10, "build": 20, "recipes": 4, "store": 5}
    assert {name: run.searched[name] for name, least in few.items() if run.searched[name] < least} == {}
    logs = {path.name for path in run.bench.build.rglob("*.log")}
    assert {"build.log", "lock.log", "fetch.log"} <= logs
    # Steps and tests wrote down the whole environment that they had.
    image = run.bench.recipe("canary")
    written = (run.bench.build / image / "oci" / "outputs" / "environment.txt").read_text()
    assert "PATH=" in written
    assert "SOURCE_DATE_EPOCH=" in (run.bench.build / f"{image}-fails" / "oci" / "build.log").read_text()


def test_no_command_line_holds_one(run: Run) -> None:
    assert programs_of(sight for sight in run.watch.found if sight.place == "cmdline") == set()


def test_no_program_is_given_one(run: Run) -> None:
    """Also none that asks upstreams: they do it through the relay."""
    assert programs_of(run.watch.found) == set()


def test_the_programs_were_seen(run: Run) -> None:
    wanted = ("docker", "bwrap", "uv", "git", "mksquashfs", "apptainer", "unshare")
    assert [program for program in wanted if not run.watch.ran(program)] == []


@pytest.mark.parametrize("user", ["", "a:", "ab:", "abc:"])
def test_a_canary_is_noticed_in_every_form(user: str) -> None:
    canaries = Canaries()
    secret = canaries.plant("a secret")
    login = f"{user}{secret}".encode()
    looks = [
        login,
        urllib.parse.quote(login, safe="").encode(),
        urllib.parse.quote_plus(login).lower().encode(),
        json.dumps(login.decode()).encode(),
        base64.b64encode(login + b":more"),
        base64.urlsafe_b64encode(login),
        gzip.compress(login),
    ]
    for number, look in enumerate(looks):
        canaries.search(f"look {number}", b"something\n" + look if look != looks[-1] else look)
    assert canaries.found == [f"a secret in look {number}" for number in range(len(looks))]
    assert Canaries().seen_in(b"".join(looks)) == set()


def test_a_canary_is_noticed_in_files(tmp_path: Path) -> None:
    canaries = Canaries()
    secret = canaries.plant("a secret")
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "build.log").write_text(f"cannot reach https://me:{secret}@example.org\n")
    inner, outer = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as layer:
        layer.add(tmp_path / "build" / "build.log", "etc/secret")
    with tarfile.open(fileobj=outer, mode="w") as image:
        member = tarfile.TarInfo("blobs/layer")
        member.size = len(inner.getvalue())
        image.addfile(member, io.BytesIO(inner.getvalue()))
    assert canaries.search_folder(tmp_path / "build") == 1
    assert canaries.search_archive("image", outer.getvalue()) == 2
    log = tmp_path / "build" / "build.log"
    assert {f"a secret in {log}", "a secret in image: blobs/layer: etc/secret"} <= set(canaries.found)


def test_a_canary_is_noticed_in_programs() -> None:
    """Of a program that this one started: its command line. Of one that it started: its environment too."""
    canaries = Canaries()
    shown, given = canaries.plant("shown"), canaries.plant("given")
    inner = "import time; time.sleep(0.5)"
    outer = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1], sys.argv[2]])"
    with Watch(canaries) as watch:
        subprocess.run(
            [sys.executable, "-c", outer, inner, shown], env={**os.environ, "TOKEN": given}, check=True
        )
        time.sleep(0.01)
    assert {(sight.kind, sight.place, outer in sight.program) for sight in watch.found} == {
        ("shown", "cmdline", True),
        ("shown", "cmdline", False),
        ("given", "environ", False),
    }
    assert watch.looks > 20


def test_a_build_needs_no_credential(bench: Bench, tmp_path: Path) -> None:
    """Of what is locked and fetched: with nothing of the caller's but PATH and HOME."""
    image = bench.recipe("bare", inputs={"apt": ["hello"]}, commands=["hello"])
    bench.run("lock", image)
    bench.run("fetch", image)
    store = os.environ["IMAGEFACTORY_STORE"]
    (tmp_path / "home").mkdir()
    (tmp_path / "docker").mkdir()
    (bench.root / "site.yaml").write_text(json.dumps({"store": store}))
    bare = {"HOME": str(tmp_path / "home"), "PATH": os.environ["PATH"]}
    bench.environment = {
        **dict.fromkeys(bench.variables()),
        **bare,
        "DOCKER_CONFIG": str(tmp_path / "docker"),
    }
    assert set(bench.variables()) == {"HOME", "PATH", "DOCKER_CONFIG"}
    bench.run("build", image, "--format", "containers", "--no-cache")
    assert {bench.report(image, kind)["status"] for kind in ("oci", "sif")} == {"passed"}
    assert docker("image", "ls", "-q", f"imagefactory/{image}").strip()


def test_a_canary_on_a_disk_is_noticed(tmp_path: Path) -> None:
    canaries = Canaries()
    secret = canaries.plant("a secret").encode()
    raw, disk = tmp_path / "raw", tmp_path / "disk.qcow2"
    with raw.open("wb") as out:
        out.seek((16 << 20) - 9)  # across two pieces that are read
        out.write(secret)
        out.truncate(64 << 20)
    subprocess.run(["qemu-img", "convert", "-c", "-O", "qcow2", raw, disk], check=True)
    assert canaries.search_disk(disk, tmp_path, secret)
    assert canaries.found == [f"a secret in {disk}"]
    assert not Canaries().search_disk(disk, tmp_path, b"what it does not hold")
