"""Launchers and module files: a researcher types the command and never sees the container."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engines.bench import PREFIX, Bench, docker
from tests.engines.cluster import ClusterUser, as_cluster_user
from tests.engines.test_places import root_only
from tests.engines.test_sif import tools

MODULES = Path("/usr/share/modules/init/sh")  # where Debian's Environment Modules has it


@pytest.fixture(scope="module")
def image(module_bench: Bench) -> str:
    """An image with two commands, a variable that is a default, and one that names a place in the image."""
    menu = [{"name": "Greeter", "command": "greet", "icon": "greet.svg"}]
    name = tools(module_bench, "wrapped", title='A "$tool" [x] {y}', gui_apps=menu)
    (module_bench.folder(name) / "icons").mkdir()
    (module_bench.folder(name) / "icons" / "greet.svg").write_text("<svg/>")
    module_bench.run("build", name, "--format", "containers", timeout=300)
    return name


@pytest.fixture
def user() -> Iterator[ClusterUser]:
    with as_cluster_user() as found:
        yield found


def wrappers(bench: Bench, image: str, user: ClusterUser, *words: str) -> Path:
    """Launchers in a folder that the user can read."""
    folder = user.shared / "software, shared"
    folder.mkdir(exist_ok=True)
    bench.run("wrappers", image, "--to", str(folder), *words)
    return folder


@contextlib.contextmanager
def reported(bench: Bench, image: str, **facts: object) -> Iterator[None]:
    """As if the image had been built with other words in its recipe."""
    files = [bench.report_file(image, kind) for kind in ("oci", "sif")]
    before = [file.read_bytes() for file in files]
    for file, content in zip(files, before, strict=True):
        file.write_text(json.dumps({**json.loads(content), **facts}))
    try:
        yield
    finally:
        for file, content in zip(files, before, strict=True):
            file.write_bytes(content)


def launcher(folder: Path, image: str, command: str) -> str:
    return str(folder / image / "1.0" / "bin" / command)


def test_launchers_run_the_sif_file(module_bench: Bench, image: str, user: ClusterUser) -> None:
    folder = wrappers(module_bench, image, user)
    greet, where, run = (launcher(folder, image, name) for name in ("greet", "where", f"{image}-exec"))
    assert user.command(greet, "a b").out == "hello a b, it's fine\n"
    assert user.command(where).out.strip() == str(user.home)
    ended = user.command(run, "sh", "-c", 'id -u; echo "$HOME"; cat; echo x >mine; exit 7', status=7)
    assert ended.out.splitlines() == [str(user.uid), str(user.home)]
    assert (user.home / "mine").stat().st_uid == user.uid
    # What the user sets on purpose goes before a default; a place in the image is the image's own.
    outside: dict[str, Any] = {"GREETING": "good morning", "TOOLS": "/outside"}
    assert user.command(greet, **outside).out == "hello you, good morning\n"
    assert user.command(run, "sh", "-c", "echo $TOOLS", **outside).out == "/opt/tools/data\n"


def test_what_the_caller_exported_stays(module_bench: Bench, image: str, user: ClusterUser) -> None:
    """Names that scripts use, which are also those that a job exports."""
    run = launcher(wrappers(module_bench, image, user), image, f"{image}-exec")
    names = (
        "name",
        "image",
        "folder",
        "bin",
        "command",
        "engine",
        "file",
        "place",
        "outside",
        "home",
        "path",
    )
    mine: dict[str, Any] = {name: f"my {name}" for name in names}
    out = user.command(run, "sh", "-c", "env", **mine).out.splitlines()
    assert [line for name in names for line in out if line == f"{name}=my {name}"] == [
        f"{name}=my {name}" for name in names
    ]
    locale: dict[str, Any] = {
        "LC_PAPER": "xx_XX.UTF-8",
        "TMPDIR": "/tmp/",
        "WAYLAND_DISPLAY": "/nowhere/wayland-0",
    }
    ended = user.command(run, "perl", "-e", "print 1", **locale)
    assert ended.out == "1"
    assert "locale" not in ended.err


def test_a_home_that_the_caller_chose_is_the_home(module_bench: Bench, image: str, user: ClusterUser) -> None:
    run = launcher(wrappers(module_bench, image, user), image, f"{image}-exec")
    chosen = user.home / "chosen"
    chosen.mkdir(mode=0o777)
    chosen.chmod(0o777)
    script = 'echo "$HOME"; echo x >"$HOME/mine"'
    assert user.command(run, "sh", "-c", script, HOME=str(chosen)).out == f"{chosen}\n"
    assert (chosen / "mine").read_text() == "x\n"


def test_the_folder_may_be_moved(module_bench: Bench, image: str, user: ClusterUser) -> None:
    folder = wrappers(module_bench, image, user)
    moved = folder.with_name("moved")
    folder.rename(moved)
    assert user.command(launcher(moved, image, "greet")).out == "hello you, it's fine\n"
    for path in moved.rglob("*"):
        if path.is_file() and path.stat().st_size < 1_000_000:
            assert str(folder) not in path.read_text()


def test_launchers_are_replaced_at_once(module_bench: Bench, image: str, user: ClusterUser) -> None:
    folder = wrappers(module_bench, image, user)
    wrappers(module_bench, image, user)
    assert sorted(path.name for path in (folder / image).iterdir()) == ["1.0"]
    files = {path.name for path in (folder / image / "1.0").iterdir()}
    assert files == {".lock", "bin", "share", module_bench.report(image, "sif")["file"]}
    assert {p.name for p in (folder / image / "1.0" / "bin").iterdir()} == {"greet", "where", f"{image}-exec"}


def test_everybody_can_read_them(module_bench: Bench, image: str, user: ClusterUser) -> None:
    before = os.umask(0o077)
    try:
        folder = wrappers(module_bench, image, user)
    finally:
        os.umask(before)
    for path in folder.rglob("*"):
        wanted = 0o755 if path.is_dir() or path.suffix == ".sif" or path.parent.name == "bin" else 0o644
        assert path.is_symlink() or path.name == ".lock" or path.stat().st_mode & 0o7777 == wanted, path


def test_values_are_taken_as_they_are(module_bench: Bench, image: str, user: ClusterUser) -> None:
    greet = launcher(wrappers(module_bench, image, user), image, "greet")
    for value in ("cost $HOME `id` $(touch pwned)", "a'b\"c", "ends in \\"):
        assert user.command(greet, GREETING=value).out == f"hello you, {value}\n"
    assert not (user.home / "pwned").exists()
    chosen = user.command(greet, GREETING="mine", APPTAINERENV_GREETING="explicit")
    assert chosen.out == "hello you, explicit\n"


def test_what_was_not_tested_is_not_installed(module_bench: Bench, image: str, user: ClusterUser) -> None:
    """A file that is damaged without a change of its size."""
    report = module_bench.report(image, "sif")
    file = module_bench.build / image / report["file"]
    whole = file.read_bytes()
    try:
        file.write_bytes(whole[:-5000] + bytes(5000))
        ended = module_bench.run("wrappers", image, "--to", str(user.shared), status=1)
        assert "is damaged: its sha256 is" in ended.errors[0]
        assert "is damaged" in module_bench.run("test", image, status=1).errors[0]
    finally:
        file.write_bytes(whole)
    failed = {**report, "status": "failed"}
    record = module_bench.report_file(image, "sif")
    try:
        record.write_text(json.dumps(failed))
        ended = module_bench.run("wrappers", image, "--to", str(user.shared), status=2)
        assert ended.errors == [f"error: SIF file {image} is not built and tested"]
        other = module_bench.recipe("unbuilt")
        record.write_text(json.dumps(report))
        ended = module_bench.run("wrappers", other, image, "--to", str(user.shared / "of-both"), status=2)
        assert ended.errors == [f"error: SIF file {other} is not built and tested"]
        assert (
            user.shared / "of-both" / image / "1.0" / "bin" / "greet"
        ).is_file()  # the other is none the worse
    finally:
        record.write_text(json.dumps(report))
    assert not (user.shared / image).exists()


def test_another_folder_is_not_touched(module_bench: Bench, image: str, tmp_path: Path) -> None:
    kept = tmp_path / image / "1.0" / "precious"
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    ended = module_bench.run("wrappers", image, "--to", str(tmp_path), status=2)
    assert "holds something else" in ended.errors[0]
    assert kept.read_text() == "mine"


def test_what_others_wrote_is_not_replaced(module_bench: Bench, image: str, tmp_path: Path) -> None:
    words = ("wrappers", image, "--to", str(tmp_path))
    module_bench.run(*words)
    programs = tmp_path / image / "1.0" / "bin"
    (programs / "notes").write_text("mine")
    other = tmp_path / image / "1.0" / "other.sif"
    other.write_text("mine")
    module_bench.run(*words)
    module_bench.run(*words)
    assert (programs / "notes").read_text() == other.read_text() == "mine"
    for file in (programs / "greet", tmp_path / "modulefiles" / image / "1.0", programs / f"{image}-exec"):
        kept = file.with_name("kept")
        file.rename(kept)
        file.write_text("mine")
        assert f"{file} is not imagefactory's" in module_bench.run(*words, status=2).errors[0]
        assert file.read_text() == "mine"
        kept.replace(file)
    module_bench.run(*words)
    assert "it is empty" in module_bench.run("wrappers", image, "--to", "", status=2).err


def test_no_launcher_runs_itself(module_bench: Bench, image: str, tmp_path: Path) -> None:
    for command, kind in (("apptainer", "sif"), ("singularity", "sif"), ("docker", "oci")):
        with reported(module_bench, image, commands=[command]):
            ended = module_bench.run("wrappers", image, "--to", str(tmp_path), "--format", kind, status=2)
        assert ended.errors == [f"error: {image}: a launcher for {command} would run itself"]
    assert not list(tmp_path.glob("*/*"))


def test_what_was_interrupted_is_carried_on(module_bench: Bench, image: str, tmp_path: Path) -> None:
    """Wherever it was killed: in an empty folder, in one without launchers, while the file was copied."""
    folder = tmp_path / image / "1.0"
    folder.mkdir(parents=True)
    module_bench.run("wrappers", image, "--to", str(tmp_path))
    file = folder / module_bench.report(image, "sif")["file"]
    shutil.rmtree(folder / "bin")
    drafts = [folder / f".{image}-1.0-0123456789ab.sif.draft", folder / f".{file.name}.draft"]
    file.unlink()
    for draft in drafts:
        draft.write_bytes(b"a part")
    module_bench.run("wrappers", image, "--to", str(tmp_path))
    assert file.stat().st_size == module_bench.report(image, "sif")["bytes"]
    assert not any(draft.exists() for draft in drafts)
    assert (folder / "bin" / "greet").resolve() == folder / "bin" / f"{image}-exec"


@root_only
def test_a_full_disk_is_named_where_it_is(module_bench: Bench, image: str, tmp_path: Path) -> None:
    target = tmp_path / "small"
    target.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=5m", "none", str(target)], check=True)
    try:
        ended = module_bench.run("wrappers", image, "--to", str(target), status=1)
        assert ended.errors[0].startswith(f"error: cannot write {target}/{image}/1.0/{image}-1.0-")
        assert "free some space there" in ended.err
        subprocess.run(["mount", "-o", "remount,size=300m", str(target)], check=True)
        module_bench.run("wrappers", image, "--to", str(target))
    finally:
        subprocess.run(["umount", str(target)], check=True)


def test_without_an_engine_a_launcher_says_what_to_do(
    module_bench: Bench, image: str, user: ClusterUser
) -> None:
    folder = wrappers(module_bench, image, user)
    programs = user.shared / "bin"
    programs.mkdir()
    for name in ("sh", "dirname", "readlink", "unshare", "mount", "setpriv"):
        found = shutil.which(name)
        assert found
        (programs / name).symlink_to(found)
    ended = user.command(launcher(folder, image, "greet"), status=127, PATH=str(programs))
    assert "greet: neither apptainer nor singularity is here: try 'module load apptainer'" in ended.err
    (programs / "singularity").symlink_to(shutil.which("apptainer") or "/")
    for name in ("ls", "cat", "id"):
        (programs / name).symlink_to(shutil.which(name) or "/")
    path = f"{programs}:/usr/sbin:/usr/bin"
    assert user.command(launcher(folder, image, "greet"), PATH=path).out == "hello you, it's fine\n"


@root_only
def test_data_outside_of_home_is_seen(module_bench: Bench, image: str, user: ClusterUser) -> None:
    """A folder at the top of the machine, as clusters have them; the home folder is another."""
    data = Path(f"/zz-data-{os.getpid()}")
    data.mkdir(mode=0o711)
    linked = data.with_name(f"{data.name}-link")
    linked.symlink_to(data)
    try:
        (data / "file").write_text("data\n")
        run = launcher(wrappers(module_bench, image, user), image, f"{image}-exec")
        for folder in (data, linked):
            assert user.command(run, "cat", str(folder / "file")).out == "data\n"
        # But not in the place of the image's own programs.
        with reported(module_bench, image, path=[f"{data}/bin"]):
            wrappers(module_bench, image, user)
        assert "No such file" in user.command(run, "cat", str(data / "file"), status=1).err
    finally:
        linked.unlink()
        shutil.rmtree(data)


def test_launchers_show_the_desktop_to_programs(module_bench: Bench, image: str, user: ClusterUser) -> None:
    """The X server's key and the Wayland socket, wherever they are."""
    import socket

    key = user.shared / "run" / "key"
    key.parent.mkdir()
    key.write_text("key\n")
    run = launcher(wrappers(module_bench, image, user), image, f"{image}-exec")
    with socket.socket(socket.AF_UNIX) as wayland:
        wayland.bind(str(key.parent / "wayland-7"))
        (key.parent / "wayland-7").chmod(0o777)
        script = 'cat "$XAUTHORITY"; test -S "$XDG_RUNTIME_DIR/$WAYLAND_DISPLAY" && echo "$DISPLAY"'
        desktop: dict[str, Any] = {
            "DISPLAY": ":7",
            "XAUTHORITY": str(key),
            "XDG_RUNTIME_DIR": str(key.parent),
            "WAYLAND_DISPLAY": "wayland-7",
        }
        assert user.command(run, "sh", "-c", script, **desktop).out == "key\n:7\n"


def test_launchers_run_the_image_in_docker(module_bench: Bench, image: str, tmp_path: Path) -> None:
    module_bench.run("wrappers", image, "--to", str(tmp_path / "software"), "--format", "oci")
    folder, home = tmp_path / "software", tmp_path / "home"
    home.mkdir()
    assert not list(folder.rglob("*.sif"))

    def run(*words: str, status: int = 0, **environment: str) -> str:
        done = subprocess.run(
            words,
            cwd=home,
            env={"HOME": str(home), "PATH": os.environ["PATH"], **environment},
            input="given\n",
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == status, done.stderr
        return done.stdout

    greet, shell = (launcher(folder, image, name) for name in ("greet", f"{image}-exec"))
    assert run(greet, "a b", GREETING="good morning") == "hello a b, good morning\n"
    script = 'id -u; pwd; echo "$HOME $TOOLS"; cat; echo x >mine; touch /opt/x 2>/dev/null || exit 7'
    out = run(shell, "sh", "-c", script, status=7, TOOLS="/outside").splitlines()
    assert out == [str(os.getuid()), str(home), f"{home} /opt/tools/data", "given"]
    assert (home / "mine").stat().st_uid == os.getuid()
    slashes: dict[str, Any] = {"TMPDIR": "/tmp/", "HOME": f"{home}/", "folder": "mine"}
    assert run(shell, "sh", "-c", 'echo "$HOME"', **slashes) == f"{home}\n"
    assert docker("ps", "-aq", "--filter", f"ancestor=imagefactory/{image}") == ""


@pytest.mark.skipif(
    not MODULES.exists() and os.environ.get("CI") != "true", reason="Environment Modules is not installed"
)
def test_the_module_is_loaded_and_taken_away(module_bench: Bench, image: str, user: ClusterUser) -> None:
    folder = wrappers(module_bench, image, user)
    script = f"""
    . {MODULES}
    module use "{folder}/modulefiles"
    module help {image} 2>&1
    module whatis {image} 2>&1
    module load {image} && greet modules && echo "$XDG_DATA_DIRS" && module unload {image}
    command -v greet || echo gone
    """
    out = user.command("sh", "-c", script).out
    assert "hello modules, it's fine\n" in out
    assert out.endswith("gone\n")
    assert 'A "$tool" [x] {y} 1.0' in out
    assert "Commands: greet where" in out
    share = folder / image / "1.0" / "share"
    assert f"\n{share}:/usr/local/share:/usr/share\n" in out
    entry = (share / "applications" / f"{image}-greet.desktop").read_text()
    assert "\nName=Greeter\n" in entry
    assert f"\nIcon={image}-greet\n" in entry
    assert (share / "icons/hicolor/scalable/apps" / f"{image}-greet.svg").read_text() == "<svg/>"


def test_what_is_not_there_is_named(bench: Bench) -> None:
    image = bench.recipe("unwrapped")
    ended = bench.run("wrappers", image, "--to", "out", status=2)
    assert ended.errors == [f"error: SIF file {image} is not built and tested"]
    assert "--format" not in ended.err
    bench.run("build", image)
    ended = bench.run("wrappers", image, "--to", "out", status=2)
    assert ended.errors == [f"error: SIF file {image} is not built and tested"]
    assert "--format oci" in ended.err
    docker("image", "rm", f"imagefactory/{image}:1.0", f"imagefactory/{image}:latest")
    ended = bench.run("wrappers", image, "--to", "out", "--format", "oci", status=2)
    assert "no longer has" in ended.errors[0]
    assert PREFIX in image
    assert not (bench.root / "out").exists()
