"""SIF files: made of tested images, the same on any day, and run as a cluster's users run them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagefactory.system.store import file_sha256
from imagefactory.targets.sif.engine import nvidia
from tests.engines.bench import NAP, REPOSITORY, Bench, docker, inspect, running, wait_for
from tests.engines.cluster import ORDINARY, apptainer, as_cluster_user

TOOLS = r"""
install -D /dev/stdin /opt/tools/bin/greet <<'END'
#!/bin/sh
echo "hello ${1:-you}, $GREETING"
END
install -D /dev/stdin /opt/tools/bin/where <<'END'
#!/bin/sh
pwd
END
mkdir -p /opt/tools/data
echo one >/opt/tools/data/one
ln /opt/tools/data/one /opt/tools/data/two
ln -s one /opt/tools/data/link
printf 'x = 1\n' >/opt/tools/data/module.txt
chmod 755 /opt/tools/bin/*
"""
TESTS = [
    {"name": "greets", "command": ["greet", "all"], "output": ["^hello all, it's fine$"]},
    {"name": "writes", "command": ["sh", "-c", "date; echo 12 >out; echo level 3"], "files": ["out"]},
]


def tools(bench: Bench, name: str = "tools", **more: Any) -> str:
    """An image with two commands and a variable."""
    facts: dict[str, Any] = {
        "environment": {"GREETING": "it's fine", "TOOLS": "/opt/tools/data"},
        "path": ["/opt/tools/bin"],
        "commands": ["greet", "where"],
        "tests": TESTS,
    }
    return bench.recipe(name, TOOLS, **{**facts, **more})


def sif_of(bench: Bench, image: str) -> Path:
    (file,) = (bench.build / image).glob("*.sif")
    return file


@pytest.fixture(scope="module")
def built(module_bench: Bench) -> tuple[Bench, str]:
    """The checkout, and an image in it that was built for Docker and for clusters."""
    image = tools(module_bench)
    module_bench.run("build", image, "--format", "containers", timeout=300)
    return module_bench, image


def test_all_tests_pass_on_the_file_too(built: tuple[Bench, str]) -> None:
    bench, image = built
    sif = bench.report(image, "sif")
    assert sif["status"] == "passed"
    assert {test["status"] for test in sif["tests"]} == {"passed"}
    contained = "--containall --cleanenv --no-home"
    smoke = {(t["name"], t["options"]) for t in sif["tests"] if t["kind"] == "smoke"}
    assert smoke == {(name, options) for name in ("greets", "writes") for options in ("", contained)}
    modes = {t["options"] for t in sif["tests"] if t["name"] == "environment"}
    assert modes == {"", "--containall", "--cleanenv", "--no-home", contained}
    names = {t["name"] for t in sif["tests"] if t["kind"] == "contract"}
    assert names >= {
        *("arbitrary-user", "environment", "commands", "file-ownership", "read-only-root", "no-network"),
        *("foreign-variables", "labels", "run-script", "self-test", "help", "apps"),
    }
    bench.assert_clean()


def test_its_name_carries_version_and_input_digest(built: tuple[Bench, str]) -> None:
    bench, image = built
    of, report, file = bench.report(image), bench.report(image, "sif"), sif_of(*built)
    assert file.name == f"{image}-1.0-{of['input_digest'][:12]}.sif" == report["file"]
    (need,) = report["needs"]
    assert (need["kind"], need["id"], need["digest"]) == ("oci", image, of["digest"])
    assert report["digest"] == f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
    assert report["bytes"] == file.stat().st_size
    assert set(report["engines"]) in ({"apptainer", "mksquashfs"}, {"singularity", "mksquashfs"})
    shown = bench.run("show", image).out
    assert file.name in shown
    assert report["digest"] in shown


def test_a_second_build_does_nothing(built: tuple[Bench, str]) -> None:
    bench, image = built
    before = sif_of(*built).stat()
    ended = bench.run("build", image, "--format", "sif")
    assert f"{image} (SIF): nothing to do, nothing changed since it was made and tested" in ended.out
    after = sif_of(*built).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    oci, sif = bench.run("build", image, "--format", "containers", "--json").json()
    assert [(r["kind"], r["action"]) for r in (oci, sif)] == [("oci", "nothing"), ("sif", "nothing")]


def test_apptainer_reads_what_it_says(built: tuple[Bench, str]) -> None:
    image, file = built[1], sif_of(*built)
    labels = inspect(f"imagefactory/{image}")["Config"]["Labels"]
    told = json.loads(apptainer("inspect", "--json", "--all", str(file)))["data"]["attributes"]
    assert told["labels"] == labels
    assert set(told["apps"]) == {"greet", "where"}
    assert "A test 1.0" in apptainer("run-help", str(file))
    listed = apptainer("sif", "list", str(file))
    assert "FS (Squashfs/*System/amd64)" in listed
    assert "Def.FILE" in listed
    assert labels["org.opencontainers.image.created"][:10] in apptainer("sif", "header", str(file))


def test_a_cluster_user_runs_it(built: tuple[Bench, str]) -> None:
    with as_cluster_user() as user:
        file = user.given(sif_of(*built))
        assert user.run("exec", file, "greet").out == "hello you, it's fine\n"
        assert user.run("run", file, "greet", "a b").out == "hello a b, it's fine\n"
        assert user.run("run", "--app", "greet", file, "x").out == "hello x, it's fine\n"
        assert user.run("exec", file, "where").out.strip() == str(user.home)
        assert user.run("test", file).status == 0
        user.run("exec", file, "sh", "-c", "echo mine >here")
        assert (user.home / "here").stat().st_uid == user.uid
        assert user.run("exec", file, "touch", "/opt/tools/x", status=1).status
        # What is given goes before the image's own; what merely stands outside does not.
        outside: dict[str, Any] = {"GREETING": "outside", "TOOLS": "/outside", "PYTHONPATH": "/outside"}
        script = 'echo "$GREETING $TOOLS ${PYTHONPATH-none}"'
        assert user.run("exec", file, "sh", "-c", script, **outside).out == "it's fine /opt/tools/data none\n"
        given = user.run("exec", "--env", "GREETING=given", file, "sh", "-c", script, **outside)
        assert given.out == "given /opt/tools/data none\n"


def test_the_compatibility_name_serves_as_well(
    built: tuple[Bench, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where only a program called singularity is there."""
    bench, image = built
    found = shutil.which("apptainer") or shutil.which("singularity")
    assert found
    programs = tmp_path / "bin"
    programs.mkdir()
    for folder in ("/sbin", "/bin", "/usr/sbin", "/usr/bin", *reversed(os.environ["PATH"].split(":"))):
        for program in Path(folder).glob("*") if Path(folder).is_dir() else ():
            if program.name not in ("apptainer", "singularity"):
                (programs / program.name).unlink(missing_ok=True)
                (programs / program.name).symlink_to(program)
    (programs / "singularity").symlink_to(found)
    ended = bench.run("test", image, PATH=str(programs), timeout=300)
    assert "failed" not in ended.out
    assert set(bench.report(image, "sif")["engines"]) & {"apptainer", "singularity"}


def test_without_apptainer_a_build_says_what_to_do_before_it_starts(bench: Bench, tmp_path: Path) -> None:
    image = tools(bench)
    programs = tmp_path / "bin"
    programs.mkdir()
    for program in ("docker", "git", "mmdebstrap", "setpriv"):
        found = shutil.which(program)
        assert found
        (programs / program).symlink_to(found)
    ended = bench.run("build", image, "--format", "containers", status=3, PATH=str(programs))
    assert ended.errors == ["error: neither apptainer nor singularity is installed"]
    assert "--format oci" in ended.err
    assert not bench.report_file(image).exists()


def test_the_same_image_gives_the_same_bytes(built: tuple[Bench, str], tmp_path: Path) -> None:
    """In another folder, at another time, with another umask and language; and Apptainer runs it."""
    from imagefactory.system.log import Log, Silence
    from imagefactory.system.processes import Stop
    from imagefactory.targets.sif.convert import TestedImage, convert

    bench, image = built
    first = sif_of(*built)
    folder = tmp_path / "elsewhere, with spaces"
    folder.mkdir()
    archive, again = folder / "image.tar", folder / "again.sif"
    docker("save", "--output", str(archive), f"imagefactory/{image}")
    old = os.umask(0o077)
    try:
        log = Log(image, tmp_path / "log", Silence())
        convert(TestedImage(image, bench.report(image)["digest"], archive), again, folder, log, Stop())
    finally:
        os.umask(old)
        log.close()
    assert file_sha256(again) == file_sha256(first)
    assert first.stat().st_mtime != again.stat().st_mtime
    for path in (tmp_path, folder):
        path.chmod(0o755)
    again.chmod(0o755)
    assert "hello" in apptainer("exec", *ORDINARY, str(again), "greet")


@pytest.fixture
def write_again(built: tuple[Bench, str], tmp_path: Path) -> Callable[[], Path]:
    """Writes the SIF file once more, in this process."""
    from imagefactory.system.log import Log, Silence
    from imagefactory.system.processes import Stop
    from imagefactory.targets.sif.convert import TestedImage, convert

    bench, image = built
    archive, file = tmp_path / "image.tar", tmp_path / "again.sif"
    docker("save", "--output", str(archive), f"imagefactory/{image}")

    def write() -> Path:
        with contextlib.closing(Log(image, tmp_path / "log", Silence())) as log:
            convert(TestedImage(image, bench.report(image)["digest"], archive), file, tmp_path, log, Stop())
        return file

    return write


def test_a_file_that_cannot_be_read_back_is_none(
    write_again: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imagefactory.errors import BuildFailed
    from imagefactory.targets.sif import convert

    damage = "dd if=/dev/zero of=/proc/self/fd/3 bs=1k count=64 seek=1024 conv=notrunc status=none"
    monkeypatch.setattr(convert, "_READ_BACK", f"{damage}\n{convert._READ_BACK}")
    with pytest.raises(BuildFailed, match="what mksquashfs wrote cannot be read back"):
        write_again()
    assert not list(tmp_path.glob("*.sif"))
    assert (tmp_path / "log").read_text().count("written once more") == 2


def test_a_file_that_cannot_be_read_back_is_written_again(
    write_again: Callable[[], Path],
    built: tuple[Bench, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from imagefactory.sandbox import run_errand
    from imagefactory.targets.sif import convert

    ended: list[int] = []

    def unreadable_at_first(*words: Any) -> int:
        ended.append(run_errand(*words))
        return ended[-1] if len(ended) > 1 else convert._UNREADABLE

    monkeypatch.setattr(convert, "run_errand", unreadable_at_first)
    assert file_sha256(write_again()) == file_sha256(sif_of(*built))
    assert ended == [0, 0]
    assert (tmp_path / "log").read_text().count("written once more") == 1


CONVERT = """
import sys
from pathlib import Path
from imagefactory.targets.sif.convert import TestedImage, convert
from imagefactory.system.log import Log, Silence
from imagefactory.system.processes import Stop
archive, digest, target, id = sys.argv[1:]
folder = Path(target).parent
log = Log(id, folder / "log", Silence())
convert(TestedImage(id, digest, Path(archive)), Path(target), folder, log, Stop())
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_who_makes_it_makes_no_difference(built: tuple[Bench, str]) -> None:
    bench, image = built
    with as_cluster_user() as user:
        archive = user.shared / "image.tar"
        docker("save", "--output", str(archive), f"imagefactory/{image}")
        archive.chmod(0o644)
        words = (str(archive), bench.report(image)["digest"], str(user.home / "x.sif"), image)
        user.command(sys.executable, "-c", CONVERT, *words, PYTHONPATH=str(REPOSITORY))
        assert file_sha256(user.home / "x.sif") == file_sha256(sif_of(*built))


def test_without_a_command_it_says_what_it_is(built: tuple[Bench, str]) -> None:
    """Where nobody could type into a shell; what is piped into one is still run."""
    _, image = built
    greets = "\nCommands: greet where\n"
    name = f"imagefactory/{image}"
    assert greets in docker("run", "--rm", name)
    piped = subprocess.run(
        ["docker", "run", "--rm", "--interactive", name], input="greet you", capture_output=True, text=True
    )
    assert piped.stdout == "hello you, it's fine\n"
    with_terminal = ["script", "-qec", f"docker run --rm --interactive --tty {name}", "/dev/null"]
    typed = subprocess.run(with_terminal, input="greet me\nexit\n", capture_output=True, text=True)
    assert "hello me, it's fine" in typed.stdout
    assert greets not in typed.stdout
    with as_cluster_user() as user:
        file = user.given(sif_of(*built))
        assert greets in user.run("run", file).out


def test_it_runs_as_an_instance(built: tuple[Bench, str]) -> None:
    with as_cluster_user() as user:
        file, name = user.given(sif_of(*built)), f"zz-{os.getpid()}"
        # One process: what ends with it takes the instance along.
        script = (
            f"apptainer -s instance start {file} {name} && "
            f"apptainer exec instance://{name} greet; apptainer -s instance stop {name}"
        )
        assert "hello you, it's fine\n" in user.command("sh", "-c", script).out


def test_it_holds_the_same_files_as_the_image(built: tuple[Bench, str], tmp_path: Path) -> None:
    """Names, kinds, modes, owners, times, links and bytes, as the engine itself shows the image's tree."""
    _, image = built
    container = docker("create", f"imagefactory/{image}").strip()
    try:
        tree = tmp_path / "tree.tar"
        docker("export", "--output", str(tree), container)
    finally:
        docker("rm", container)
    unpacked = tmp_path / "unpacked"
    offset = _system_offset(sif_of(*built))
    subprocess.run(
        ["unsquashfs", "-no-progress", "-quiet", "-o", str(offset), "-d", str(unpacked), str(sif_of(*built))],
        check=True,
        capture_output=True,
    )
    # The engine puts these there itself when it makes a container.
    engines = {".dockerenv", "dev", "proc", "sys", "etc/hostname", "etc/hosts", "etc/resolv.conf", "etc/mtab"}
    expected: dict[str, Any] = {}
    with tarfile.open(tree) as archive:
        for member in archive:
            path = member.name.rstrip("/")
            if path and path not in engines and not path.startswith(("dev/", "proc/", "sys/")):
                expected[path] = member.mode & 0o7777, member.uid, member.gid, member.size, member.linkname
    found: dict[str, Any] = {}
    for file in unpacked.rglob("*"):
        name = str(file.relative_to(unpacked))
        facts = file.lstat()
        if name.split("/")[0] in (".singularity.d", "scif", "environment", "singularity") or name in engines:
            continue
        size = facts.st_size if file.is_file() and not file.is_symlink() else 0
        link = str(file.readlink()) if file.is_symlink() else ""
        found[name] = facts.st_mode & 0o7777, facts.st_uid, facts.st_gid, size, link
    for path, (mode, uid, gid, size, link) in expected.items():
        assert path in found, path
        if not link:
            assert found[path] == (mode, uid, gid, size, ""), path
    assert set(found) <= set(expected)
    data = unpacked / "opt" / "tools" / "data"
    assert (data / "one").stat().st_ino == (data / "two").stat().st_ino
    assert str((data / "link").readlink()) == "one"


def _system_offset(file: Path) -> int:
    (line,) = (line for line in apptainer("sif", "list", str(file)).splitlines() if "Squashfs" in line)
    return int(line.split("|")[3].split("-")[0])


def test_a_difference_from_docker_is_a_failure(bench: Bench) -> None:
    """The test passes in both, and says in each where it runs."""
    command = ["sh", "-c", "if [ -d /.singularity.d ]; then echo cluster; else echo docker; fi"]
    image = bench.recipe("differs", tests=[{"name": "place", "command": command}])
    ended = bench.run("build", image, "--format", "sif", status=1)
    assert f"{image} (SIF): smoke test place failed" in ended.err
    differs = "differs from the OCI image: only the OCI image's output has 'docker'"
    assert f"{differs}; only this one's has 'cluster'" in ended.err
    assert bench.report(image)["status"] == "passed"
    report = bench.report(image, "sif")
    assert (report["status"], report["file"]) == ("failed", "")
    assert not list((bench.build / image).glob("*.sif"))
    texts = {f: (bench.build / image / f / "outputs" / "place.txt").read_text() for f in ("oci", "sif")}
    assert texts == {"oci": "docker\n[exit status 0]\n", "sif": "cluster\n[exit status 0]\n"}
    varies = [{"name": "place", "command": command, "varies": ["^(docker|cluster)$"]}]
    bench.recipe("differs", tests=varies)
    bench.run("build", image, "--format", "sif")


def test_what_differs_from_run_to_run_is_none(bench: Bench) -> None:
    """Numbers drawn by chance, and a file that holds the path to where it was made."""
    noisy = "echo seed $(od -An -N4 -tu4 /dev/urandom); echo steady; echo /.sing* >out"
    tests = [{"name": "noisy", "command": ["sh", "-c", noisy], "files": ["out"]}]
    image = bench.recipe("noisy", tests=tests)
    bench.run("build", image, "--format", "sif")


def test_what_breaks_only_on_clusters_is_found(bench: Bench) -> None:
    """A command that writes beside itself works in no read-only file; an unwritable home does no harm."""
    image = bench.recipe(
        "homeless",
        tests=[{"name": "home", "command": ["sh", "-c", 'echo x >"$HOME/x" && cat "$HOME/x"']}],
        home_folders=[".config/app"],
    )
    bench.run("build", image, "--format", "sif")
    with as_cluster_user() as user:
        file = user.given(sif_of(bench, image))
        for options in ((), ("--no-home",), ("--containall",)):
            script = 'test -w "$HOME/.config/app" && echo fine'
            assert user.run("exec", *options, file, "sh", "-c", script).out == "fine\n", options


def test_a_file_that_was_damaged_is_made_again(built: tuple[Bench, str]) -> None:
    bench, image = built
    file = sif_of(*built)
    whole = file_sha256(file)
    with file.open("r+b") as content:
        content.truncate(file.stat().st_size - 100)
    ended = bench.run("build", image, "--format", "sif", timeout=300)
    assert "is gone or not whole" in ended.text
    assert file_sha256(sif_of(*built)) == whole


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_kill_leaves_no_file_under_its_name(bench: Bench, number: signal.Signals) -> None:
    image = bench.recipe("killed-sif", "head -c 90000000 /dev/urandom >/opt/noise")
    bench.run("build", image)
    process = bench.start("build", image, "--format", "sif")
    wait_for(lambda: bool(list(bench.build.glob("*/sif/scratch/candidate.sif"))))
    process.send_signal(number)
    process.communicate(timeout=60)
    assert not list((bench.build / image).glob("*.sif"))
    wait_for(lambda: not bench.processes(), 20, lambda: f"still running: {bench.processes()}")
    if number == signal.SIGKILL:
        bench.run("build", image, "--format", "sif")
        assert sif_of(bench, image).stat().st_size > 90_000_000
    bench.assert_clean()


def test_a_kill_during_its_tests_leaves_nothing(bench: Bench) -> None:
    words = f"{NAP}6"
    slow = [
        {
            "name": "slow",
            "command": ["sh", "-c", f"[ ! -d /.singularity.d ] || {words}"],
            "time_limit": 300,
        }
    ]
    image = bench.recipe("killed-test", tests=slow)
    process = bench.start("build", image, "--format", "sif")
    wait_for(lambda: running(words), 120)
    process.kill()
    process.communicate(timeout=10)
    wait_for(lambda: not running(words), 20)
    mounted = Path("/proc/mounts").read_text()
    assert "image.sif" not in mounted
    bench.run("test", bench.recipe("other"), status=2)  # not built, but it sweeps
    bench.assert_clean()


MPI = r"""
#include <mpi.h>
#include <stdio.h>
int main(int argc, char **argv) {
    int rank, size, sum = 0;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    rank++;
    MPI_Reduce(&rank, &sum, 1, MPI_INT, MPI_SUM, 0, MPI_COMM_WORLD);
    if (rank == 1) printf("the sum over %d ranks is %d\n", size, sum);
    MPI_Finalize();
}
"""


def test_two_ranks_of_an_mpi_program(bench: Bench) -> None:
    """They really exchange numbers, in Docker and on the cluster, and each contract is kept."""
    image = bench.recipe(
        "ranks",
        "mkdir -p /opt/ranks/bin\nmpicc -o /opt/ranks/bin/ranks /recipe/files/ranks.c",
        inputs={"apt": ["openmpi-bin"]},
        build={"inputs": {"apt": ["gcc", "libopenmpi-dev"]}, "keep": ["/opt/ranks"]},
        environment={
            "OMPI_MCA_btl_vader_single_copy_mechanism": "none",
            "OMPI_MCA_hwloc_base_binding_policy": "none",
            "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        },
        path=["/opt/ranks/bin"],
        commands=["ranks", "mpirun"],
        needs={"mpi": True},
        tests=[
            {
                "name": "sum",
                "command": ["mpirun", "-np", "2", "ranks"],
                "output": ["^the sum over 2 ranks is 3$"],
            }
        ],
    )
    (bench.folder(image) / "files").mkdir()
    (bench.folder(image) / "files" / "ranks.c").write_text(MPI)
    bench.run("build", image, "--format", "sif", timeout=600)
    found = {(t["name"], t["options"]): t["status"] for t in bench.report(image, "sif")["tests"]}
    contained = "--containall --cleanenv --no-home"
    for options in ("", contained):
        assert found["two-ranks", options] == found["sum", options] == "passed"


def test_what_is_in_the_place_of_our_own_files_is_refused(bench: Bench) -> None:
    image = bench.recipe("in-the-way", "mkdir /environment\necho x >/environment/data")
    ended = bench.run("build", image, "--format", "sif", status=1)
    assert "the image has /environment, where a SIF file has files of its own" in ended.errors[0]
    assert "install it elsewhere" in ended.err
    assert not list(bench.build.glob(f"{image}/*.sif"))


def test_a_gpu_that_is_not_there_is_told(bench: Bench) -> None:
    """Then the test with --nv is reported as not run, and the file itself says what is missing."""
    gpu = {"cuda": "12.4", "driver": "525.60.13", "capability": ["8.0"]}
    image = bench.recipe("gpu", needs={"gpu": gpu})
    bench.run("build", image, "--format", "sif")
    (test,) = (t for t in bench.report(image, "sif")["tests"] if t["name"] == "gpu")
    assert test["options"] == "--nv"
    if nvidia():
        assert test["status"] == "passed"
        return
    assert (test["status"], test["reason"]) == ("not-run", "no NVIDIA GPU answers on this machine")
    with as_cluster_user() as user:
        file = user.given(sif_of(bench, image))
        said = user.run("exec", file, "echo", "ran")
        assert said.out == "ran\n"
        assert "start it with --gpus all (Docker) or --nv (Apptainer)" in said.err
        quiet = user.run("exec", "--env", "IMAGEFACTORY_GPU_CHECK=off", file, "echo", "ran")
        assert "GPU" not in quiet.err
