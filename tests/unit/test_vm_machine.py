"""What a machine does by itself with what its cloud names: values are data, and checked."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from imagefactory.model import recipe
from imagefactory.model.recipe import Needs, SmokeTest
from imagefactory.system.store import Store
from imagefactory.targets.vm import payload
from imagefactory.targets.vm.examples import examples_of
from imagefactory.targets.vm.facts import machine_files, machine_links
from tests.unit.samples import GPU, image, report, spec

PROGRAM = Path(__file__).parents[2] / "imagefactory/targets/vm/templates/data_volume.py"
DATA = recipe.TestData(url="https://example.org/frames/bias.fits", sha256="ab" * 32)
LARGE = recipe.TestData(url="https://example.org/frames/night.tar", sha256="cd" * 32)


@pytest.fixture
def program(tmp_path: Path) -> Any:
    """The program of machines, with places of ours."""
    found = importlib.util.spec_from_file_location("data_volume", PROGRAM)
    assert found
    assert found.loader
    module: Any = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    for name in ("TOLD", "SETTINGS", "NOTES", "DATA", "SHARES", "REPOSITORIES"):
        setattr(module, name, tmp_path / name.lower())
    module.NFS_CLIENT = module.CVMFS_CLIENT = PROGRAM  # which are there
    return module


def cloud(program: Any, **meta: object) -> dict[str, str]:
    """What the program learns of a server with that metadata."""
    program.TOLD.write_text(json.dumps({"ds": {"meta_data": {"meta": meta}}}))
    told: dict[str, str] = program.told()
    return told


def test_only_our_metadata_are_read(program: Any) -> None:
    assert cloud(program, imagefactory_format=" yes ", imagefactory_nfs=7, name="x") == {
        "imagefactory_format": "yes"
    }
    for text in ("", "[]", '{"ds": 5}', '{"ds": {"meta_data": {"meta": "x"}}}', "\0"):
        program.TOLD.write_text(text)
        assert program.told() == {}
    program.TOLD.unlink()
    assert program.told() == {}


def test_what_is_set_on_the_machine_is_read_and_never_run(program: Any, tmp_path: Path) -> None:
    program.SETTINGS.write_text(f"# a note\nFORMAT_IF_EMPTY='yes'\nDEVICE=\ntouch {tmp_path}/ran\n")
    assert program.set_here(program.SETTINGS) == {"imagefactory_format": "yes"}
    assert not (tmp_path / "ran").exists()


def test_shares_and_repositories(program: Any) -> None:
    names = "nas.example.org:/projects/data [2001:db8::1]:/x"
    found = list(program.mounts({"imagefactory_nfs": names, "imagefactory_cvmfs": "software.eessi.io"}))
    assert [(what, place.name, words[:3]) for what, place, words in found] == [
        ("nas.example.org:/projects/data", "data", ["mount", "-t", "nfs4"]),
        ("[2001:db8::1]:/x", "x", ["mount", "-t", "nfs4"]),
        ("software.eessi.io", "software.eessi.io", ["mount", "-t", "cvmfs"]),
    ]
    assert all(words[-1] == what and "nodev,nosuid" in words[4] for what, _, words in found)


@pytest.mark.parametrize(
    "value",
    [
        "-o:/x",
        "nas:/x,exec",
        "nas:/../etc",
        "nas:/a/..",
        "nas:/$(id)",
        "nas:/;id",
        "nas:x",
        "nas:/",
        "nas:/-x",
    ],
)
def test_what_is_no_share_is_never_mounted(
    value: str, program: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        list(program.mounts({"imagefactory_nfs": value, "imagefactory_cvmfs": f"{value} -x.y ../z a"})) == []
    )
    assert "is no share of an NFS server" in capsys.readouterr().out


def test_two_shares_of_one_name(program: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(list(program.mounts({"imagefactory_nfs": "a:/x b:/y/x"}))) == 1
    assert "b:/y/x is not mounted: a:/x has its place" in capsys.readouterr().out


def test_without_its_client_it_says_so(program: Any, capsys: pytest.CaptureFixture[str]) -> None:
    program.NFS_CLIENT = program.CVMFS_CLIENT = Path("/no/such/client")
    assert list(program.mounts({"imagefactory_nfs": "a:/x", "imagefactory_cvmfs": "software.eessi.io"})) == []
    said = capsys.readouterr().out
    assert "no client of NFS" in said
    assert "software.eessi.io is not mounted: CVMFS's client is not on this machine" in said


def test_a_share_is_tried_until_it_answers(program: Any, capsys: pytest.CaptureFixture[str]) -> None:
    answers = ["no route", "no route", ""]
    program.mounted = lambda place, words: answers.pop(0)
    waited: list[float] = []
    assert program.shares({"imagefactory_nfs": "nas:/x"}, waited.append) == 0
    assert waited == [15, 30]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "shares: nas:/x is not mounted: no route; it is tried again"
    assert lines[1].startswith("shares: nas:/x is mounted at ")
    assert len(lines) == 2
    assert not (program.NOTES / "shares").exists()


UUID = "5a1e9c52-6f0b-4a4e-9d6c-1f6b7d1c0a01"


def test_which_disk_is_the_volume(program: Any) -> None:
    free = {"/dev/vdb": UUID[:20], "/dev/vdc": ""}
    program.free_disks = lambda: dict(free)
    program.probed = lambda what, disk: ""
    assert program.chosen(UUID) == "/dev/vdb"
    assert program.chosen(UUID.replace("5a", "5b")) == ""
    assert program.chosen("/dev/vdc") == "/dev/vdc"
    assert program.chosen("/dev/vdx") == ""  # it may come
    with pytest.raises(program.Trouble, match="it could be /dev/vdb or /dev/vdc: name one"):
        program.chosen("")
    program.probed = lambda what, disk: "data" if disk == "/dev/vdc" else ""
    assert program.chosen("") == "/dev/vdc"
    for wrong in ("vdb", "/dev/../etc/shadow", "/dev/vdb;id", "--all", "/dev/null /dev/vdb"):
        with pytest.raises(program.Trouble, match="neither a volume's UUID nor a device"):
            program.chosen(wrong)
    with pytest.raises(program.Trouble, match="has partitions, is in use"):
        program.chosen("/dev/null")


def names(of: object) -> set[str]:
    return {file.path for file in machine_files(of)}  # type: ignore[arg-type]


def test_only_an_application_of_gpus_looks_for_one() -> None:
    with_gpu = spec(image=image(needs=Needs(gpu=GPU)))
    more = names(with_gpu) - names(spec())
    assert more == {
        "usr/local/sbin/imagefactory-gpu",
        "usr/lib/systemd/system/imagefactory-gpu.service",
    }
    assert len(machine_links(with_gpu)) == len(machine_links(spec())) + 1


def test_data_of_tests_are_examples() -> None:
    tests = (
        SmokeTest(name="short", command=("x",), data=("frames",)),
        SmokeTest(name="long", command=("x",), data=("night",), full=True),
    )
    of = spec(image=image(tests=tests, test_data={"frames": DATA, "night": LARGE}))
    assert examples_of(of) == {"usr/share/imagefactory/app/frames/bias.fits": DATA}
    (welcome,) = [file.data.decode() for file in machine_files(of) if file.path.endswith("/welcome")]
    assert "Example data: /usr/share/imagefactory/app\n" in welcome
    (without,) = [file.data.decode() for file in machine_files(spec()) if file.path.endswith("/welcome")]
    assert "Example" not in without


def test_all_of_it_is_in_the_payload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"SIMPLE"
    frames = recipe.TestData(url=DATA.url, sha256=hashlib.sha256(data).hexdigest())
    tests = (SmokeTest(name="short", command=("x",), data=("frames",)),)
    of = spec(image=image(tests=tests, test_data={"frames": frames}, needs=Needs(gpu=GPU)))
    store, archive = Store(tmp_path / "store"), tmp_path / "oci.tar"
    archive.write_bytes(b"oci")
    with store.draft("frames") as draft:
        draft.write_bytes(data)
        store.take(draft, frames.sha256)
    monkeypatch.setattr(payload, "_write_launchers", lambda *words: None)
    kept: Any = SimpleNamespace(report=report(), archive=lambda file: archive)
    job: Any = SimpleNamespace(
        target=SimpleNamespace(spec=of),
        needs={"oci": kept, "sif": kept},
        scratch=tmp_path,
        means=SimpleNamespace(store=store),
    )
    payload.write_payload(job, tmp_path / "payload.tar")
    with tarfile.open(tmp_path / "payload.tar") as tar:
        members = {member.name: member for member in tar}
        example = tar.extractfile("usr/share/imagefactory/app/frames/bias.fits")
        assert example
        assert example.read() == data
    assert next(iter(members)) == "imagefactory-payload"
    assert members["usr/local/sbin/data-volume"].mode == 0o755
    assert members["usr/share/imagefactory/app/frames/bias.fits"].mode == 0o644
    for place, to in machine_links(of).items():
        assert members[place].linkname == to
    assert {member.uid for member in members.values()} == {0}
