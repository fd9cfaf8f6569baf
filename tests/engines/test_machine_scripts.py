"""Programs of machines, run here: the one that mounts volumes in mounts of its own, the one that looks for
GPUs on trees of files.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from imagefactory.model.recipe import Needs
from imagefactory.model.spec import File
from imagefactory.targets.vm.gpu import gpu_files
from imagefactory.targets.vm.volumes import volume_files
from tests.engines.kit_tools import missing
from tests.unit.samples import GPU, image

_PATCHED = """\
import importlib.util, sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
loader = SourceFileLoader("data_volume", sys.argv[1])
program = importlib.util.module_from_spec(importlib.util.spec_from_loader("data_volume", loader))
loader.exec_module(program)
program.DATA = Path("/mnt/data")
program.free_disks = lambda: {sys.argv[2]: ""}
sys.exit(program.main(sys.argv[3:]))
"""
_INSIDE = """\
set -e
for each in /run /mnt; do mount -t tmpfs none $each; done
status=0
"$@" || status=$?
if mountpoint -q /mnt/data; then ls /mnt/data; stat -c %u /mnt/data; fi
cat /run/imagefactory/notes/* 2>/dev/null | sed 's/^/noted /'
exit "$status"
"""


@pytest.fixture(autouse=True)
def engines() -> None:
    """These tests need no engine."""


def ran(*words: str | Path, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False, **more)  # type: ignore[call-overload,no-any-return]


def placed(folder: Path, files: tuple[File, ...], name: str) -> Path:
    (found,) = [each for each in files if each.path.endswith(f"/{name}")]
    file = folder / name
    file.write_bytes(found.data)
    file.chmod(0o755)
    return file


def test_only_an_empty_volume_is_formatted_and_only_on_demand(tmp_path: Path) -> None:
    if os.geteuid() or ran("unshare", "-m", "true").returncode or not shutil.which("mkfs.ext4"):
        missing("mounting takes root, who may make namespaces, and mkfs.ext4")
    program = placed(tmp_path, volume_files(), "data-volume")
    disk = tmp_path / "disk"
    disk.touch()
    os.truncate(disk, 16 << 20)

    def mounted(*words: str) -> tuple[int, str]:
        start: list[str | Path] = [sys.executable, "-c", _PATCHED, program, disk, *words]
        done = ran("unshare", "-m", "sh", "-c", _INSIDE, "sh", *start)
        return done.returncode, done.stdout + done.stderr

    empty = f"data volume: {disk} is empty: to make a file system on it, sudo data-volume --format\n"
    assert mounted() == (0, f"{empty}noted {empty}")
    assert not any(disk.read_bytes())
    status, said = mounted("--format")
    assert (status, said.splitlines()[-3:]) == (
        0,
        [f"data volume: {disk} is mounted at /mnt/data", "lost+found", "1000"],
    )
    assert ran("blkid", "-p", "-o", "value", "-s", "LABEL", disk).stdout == "data\n"
    status, said = mounted("--format")  # what is there stays
    assert (status, "making" in said, "lost+found" in said) == (0, False, True)
    size = 16 << 20
    partly: list[tuple[int, bytes]] = [
        (70000, b"my only copy"),
        (0, b"LUKS\xba\xbe\0\x01"),
        (size - 9, b"the end"),
    ]
    for place, content in partly:
        with disk.open("wb") as out:
            out.truncate(size)
            out.seek(place)
            out.write(content)
        before = disk.read_bytes()
        status, said = mounted("--format")
        assert status == 1, said
        assert "left as it is\nnoted " in said
        assert disk.read_bytes() == before


@pytest.mark.parametrize(
    ("device", "smi", "says"),
    [
        (False, None, "no NVIDIA GPU is in this machine, so An application runs on the processor"),
        (True, None, "its driver is not"),
        (True, "exit 9", "its driver does not work"),
        (
            True,
            "echo 470.57.02",
            "the driver is 470.57.02, and CUDA 12.4, which An application uses, needs 525.60.13",
        ),
        (True, "echo 550.163.01", ""),
    ],
)
def test_a_machine_says_what_is_wrong_with_its_gpu(
    device: bool, smi: str | None, says: str, tmp_path: Path
) -> None:
    script = placed(tmp_path, gpu_files(image(needs=Needs(gpu=GPU))), "imagefactory-gpu")
    place = tmp_path / "sys/bus/pci/devices/0000:00:05.0"
    place.mkdir(parents=True)
    (place / "vendor").write_text("0x10de\n" if device else "0x1af4\n")
    (place / "class").write_text("0x030200\n")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("nvidia-smi", "nvidia-ctk"):
        if smi:
            text = smi if name == "nvidia-smi" else 'echo made >"${3#--output=}"'
            (programs / name).write_text(f"#!/bin/sh\n{text}\n")
            (programs / name).chmod(0o755)
    done = ran("/bin/sh", script, tmp_path, env={"PATH": f"{programs}:/usr/bin:/bin"})
    assert (done.returncode, done.stderr) == (0, "")
    note, cdi = tmp_path / "run/imagefactory/notes/gpu", tmp_path / "run/cdi/nvidia.yaml"
    if says:
        assert done.stdout == note.read_text()
        assert f"GPU: {says}" in done.stdout or says in done.stdout
        assert not cdi.exists()
    else:
        assert not note.exists()
        assert cdi.read_text() == "made\n"


def test_the_scripts_are_linted(tmp_path: Path) -> None:
    script = placed(tmp_path, gpu_files(image(needs=Needs(gpu=GPU))), "imagefactory-gpu")
    assert ran(Path(sys.executable).with_name("shellcheck"), script).stdout == ""
