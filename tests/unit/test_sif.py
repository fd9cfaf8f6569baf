"""SIF files: their header, what they say of themselves, their definition files, and what is to be done."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from imagefactory.errors import BuildFailed, DiskFull, EngineError
from imagefactory.model.recipe import Inputs, Needs
from imagefactory.model.spec import Artifact, TestedArtifact
from imagefactory.model.target import TargetId
from imagefactory.system.processes import Stop
from imagefactory.system.records import Record
from imagefactory.system.workspace import Workspace
from imagefactory.targets.common.content import labels
from imagefactory.targets.kind import Job, Kept
from imagefactory.targets.sif import convert
from imagefactory.targets.sif.definition import render_definition
from imagefactory.targets.sif.header import Document, system_offset, write_header
from imagefactory.targets.sif.kind import SifKind
from imagefactory.targets.sif.metadata import files_of, metadata_of_image, summary
from imagefactory.targets.sif.subject import _outcome, _tmpfs_bytes
from imagefactory.testing.subject import MIB, Call
from tests.unit.samples import (
    ARCHIVE,
    GPU,
    STAGE,
    apt_file,
    everything,
    folder,
    image,
    lock,
    report,
    spec,
    target,
)

DOCUMENTS = (Document("", "definition", b"Bootstrap: docker\n"), Document("x.json", "json", b"{}"))


def sif(folder: Path, content: bytes = b"file system", **changes: Any) -> bytes:
    file = folder / "image.sif"
    offset = system_offset(DOCUMENTS)
    file.write_bytes(bytes(offset) + content.ljust(4096, b"\0"))
    facts = {"architecture": "amd64", "identity": "sha256:abc", "epoch": 1_700_000_000, **changes}
    write_header(file, DOCUMENTS, **facts)
    return file.read_bytes()


def test_the_header_is_as_the_format_has_it(tmp_path: Path) -> None:
    data = sif(tmp_path)
    assert data.startswith(b"#!/usr/bin/env run-singularity\n\0SIF_MAGIC\x0001\x0002\0")
    free, total, at, size, data_at, data_size = struct.unpack_from("<6q", data, 80)
    assert (free, total, at, size, data_at) == (45, 48, 4096, 48 * 585, 32176)
    assert data_at + data_size == len(data)
    assert struct.unpack_from("<2q", data, 64) == (1_700_000_000, 1_700_000_000)


def test_every_object_is_where_its_descriptor_says(tmp_path: Path) -> None:
    data = sif(tmp_path)
    found = []
    for number in range(3):
        at = 4096 + 585 * number
        kind, *known, _, _, offset, size = struct.unpack_from("<i?IIIqq", data, at)
        assert known == [True, number + 1]
        found.append((kind, data[offset : offset + size].rstrip(b"\0")))
    assert found == [(0x4001, DOCUMENTS[0].data), (0x4006, b"{}"), (0x4004, b"file system")]
    assert system_offset(DOCUMENTS) % 4096 == 0
    assert data[4096 + 585 * 3 : 4096 + 585 * 48].strip(b"\0") == b""


def test_the_same_content_gives_the_same_file(tmp_path: Path) -> None:
    assert sif(tmp_path) == sif(tmp_path)
    for change in ({"identity": "sha256:other"}, {"epoch": 1}, {"architecture": "arm64"}):
        assert sif(tmp_path, **change) != sif(tmp_path)


def config(**changes: Any) -> dict[str, Any]:
    which = image(commands=("hello", "goodbye"), **changes)
    return {
        "architecture": "amd64",
        "config": {
            "Env": ["PATH=/opt/app/bin:/usr/bin:/bin", "LANG=C.UTF-8", "GREETING=it's $HOME `x` a=b"],
            "Cmd": ["/bin/bash"],
            "Labels": dict(labels(spec(image=which), "d" * 64)),
        },
    }


def files(**changes: Any) -> dict[str, str]:
    return {f.path: f.data.decode() for f in files_of(metadata_of_image(config(**changes)), "Bootstrap: x\n")}


def test_an_image_says_what_it_is() -> None:
    found = files()
    assert json.loads(found[".singularity.d/labels.json"])["io.imagefactory.id"] == "app"
    environment = found[".singularity.d/env/90-environment.sh"]
    assert "export PATH=/opt/app/bin:/usr/bin:/bin\n" in environment
    assert """export GREETING='it'"'"'s $HOME `x` a=b'\n""" in environment
    assert found[".singularity.d/runscript"].endswith(
        '|| set -- /bin/sh /etc/imagefactory/welcome.sh\nexec "$@"\n'
    )
    assert "for command in hello goodbye; do" in found[".singularity.d/test"]
    help_ = found[".singularity.d/runscript.help"]
    assert "app: An application 1.0\nAbout: Says hello.\n" in help_
    assert "Commands: hello goodbye\n" in help_
    assert found["scif/apps/goodbye/scif/runscript"] == '#!/bin/sh\nexec goodbye "$@"\n'
    assert ".singularity.d/env/99-imagefactory.sh" not in found


def test_the_help_ends_with_the_readme() -> None:
    words = "# Hello\n\n%post\n    {{ not a value }}"
    assert metadata_of_image(config(), words).help.endswith(f"\n\n{words}\n")
    readme = spec(image=image(folder=folder(readme=words)))
    definition = render_definition(readme, "d" * 64).data.decode()
    assert "not a value" not in definition  # its lines could be taken for a definition file's
    assert "    README.md /etc/imagefactory/README.md\n" in definition
    assert "More is in /etc/imagefactory/README.md, inside." in definition


def test_one_command_needs_no_apps() -> None:
    which = config()
    which["config"]["Labels"]["io.imagefactory.commands"] = "hello"
    data = metadata_of_image(which)
    assert not data.apps
    assert "--app" not in data.help


def test_a_gpu_is_asked_after_last() -> None:
    which = config()
    which["config"]["Env"].append("NVIDIA_VISIBLE_DEVICES=all")
    data = metadata_of_image(which)
    assert "gpu.sh" in data.late
    assert "--nv" in data.help


def test_apptainer_reads_the_summary_as_its_own() -> None:
    data = metadata_of_image(config())
    found = json.loads(summary(data, "Bootstrap: x\n"))["data"]["attributes"]
    assert found["labels"] == dict(data.labels)
    assert found["apps"]["hello"] == {"runscript": '#!/bin/sh\nexec hello "$@"\n'}


def stages(text: str) -> dict[str, str]:
    parts = re.split(r"^Bootstrap: .*\nFrom: .*\nStage: (\w+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def definition(**changes: Any) -> str:
    found = render_definition(spec(image=image(**changes)), "d" * 64)
    assert found.path == "app.def"
    return found.data.decode()


def test_a_definition_has_stages_where_the_dockerfile_has() -> None:
    assert list(stages(definition())) == ["download", "final"]
    assert list(stages(definition(inputs=Inputs()))) == ["final"]
    assert list(stages(definition(build=STAGE))) == ["download", "build", "final"]
    whole = render_definition(spec(image=everything()), "d" * 64).data.decode()
    assert list(stages(whole)) == ["download", "packages", "build", "final"]
    assert "opt/venv opt/conda" in stages(whole)["packages"]


def test_a_definition_installs_with_the_environment_and_the_same_script() -> None:
    text = definition()
    final = stages(text)["final"]
    assert "    . /etc/imagefactory/environment.sh\n    sh /recipe/install.sh\n" in final
    assert "sh /steps/apt-image.sh" in final
    built = stages(definition(build=STAGE))
    assert "sh /recipe/install.sh" in built["build"]
    assert "install.sh" not in built["final"]
    assert "tar -C / -cf /built.tar opt/app\n" in built["build"]
    for section in ("%environment", "%runscript", "%test", "%help", "%post"):
        assert section in final


def test_a_definition_builds_from_any_base() -> None:
    text = definition()
    assert text.count("Bootstrap: {{ BOOTSTRAP }}\nFrom: {{ BASE }}\n") == 2
    assert "    BOOTSTRAP=docker\n    BASE=debian:12-slim\n" in text


@pytest.mark.parametrize(
    "value", ["{{ BASE }}", "{{{ BASE }}}", "<<BASE>>", "%post", "a'b\"c", "$(id)", "`id`", "-n x", "a\\b"]
)
def test_values_in_a_definition_are_data(value: str) -> None:
    """Apptainer's own variables and section names, and a shell's characters, mean nothing in a value."""
    plain = definition(title="plain", summary="plain", environment={"X": "plain"})
    text = definition(title=value, summary=value, environment={"X": value})
    assert re.findall(r"^\s*%.*", text, re.MULTILINE) == re.findall(r"^\s*%.*", plain, re.MULTILINE)
    assert re.findall(r"\{\{.*?\}\}", text) == re.findall(r"\{\{.*?\}\}", plain)
    assert len(text.splitlines()) == len(plain.splitlines())


def kept(folder: Path, **changes: Any) -> Kept:
    made = report(target("sif"), file="app.sif", bytes=4, **changes)
    return Kept(made, Record(folder / "app" / "sif"), SifKind(Workspace(folder)), target("sif"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"file": "other.sif"}, "other.sif is gone or not whole"),
        ({"bytes": 5}, "app.sif is gone or not whole"),
    ],
)
def test_what_was_kept_must_be_there_and_whole(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "app.sif").write_bytes(b"data")
    there = kept(tmp_path)
    there = dataclasses.replace(there, report=there.report.model_copy(update=changes))
    assert there.kind.missing(there) == reason


def test_what_was_kept_must_be_what_was_tested(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "app.sif").write_bytes(b"data")
    sha256 = hashlib.sha256(b"data").hexdigest()
    there = kept(tmp_path, digest=f"sha256:{sha256}")
    there.kind.verify(there)
    (tmp_path / "app" / "app.sif").write_bytes(b"atad")
    with pytest.raises(BuildFailed, match=r"app\.sif is damaged: its sha256 is [0-9a-f]{64}, and another"):
        there.kind.verify(there)


def test_a_file_gets_its_name_at_once(tmp_path: Path) -> None:
    kind, record = SifKind(Workspace(tmp_path)), Record(tmp_path / "app" / "sif")
    record.folder.mkdir(parents=True)

    def keep(version: str, digest: str, **changes: Any) -> str:
        candidate = tmp_path / "scratch.sif"
        candidate.write_text(digest)
        ours = spec(image=image(version=version), **changes)
        of_image = Kept(report(input_digest=digest * 64), record, kind, target("oci", ours))
        job = Job(target("sif", ours), {"oci": of_image}, record, means=None)  # type: ignore[arg-type]
        kept = kind.keep(job, TestedArtifact(Artifact("sha256:f", 1, path=str(candidate))))
        return Path(kept.path).name

    assert keep("1.0", "a") == "app-1.0-aaaaaaaaaaaa.sif"
    assert keep("1.0", "b") == "app-1.0-bbbbbbbbbbbb.sif"
    assert keep("1.0", "b") == "app-1.0-bbbbbbbbbbbb.sif"
    assert keep("1.0-1", "c") == "app-1.0-1-cccccccccccc.sif"
    assert keep("1.1", "d") == "app-1.1-dddddddddddd.sif"
    # What holds stand-ins never takes the name of a version.
    rehearsed = lock(image={"apt": (apt_file(stand_in=True),)})
    assert keep("1.1", "e", lock=rehearsed) == "app-stand-in-eeeeeeeeeeee.sif"
    assert sorted(path.name for path in record.shelf.glob("*.sif")) == [
        "app-1.0-1-cccccccccccc.sif",
        "app-1.0-aaaaaaaaaaaa.sif",
        "app-1.0-bbbbbbbbbbbb.sif",
        "app-1.1-dddddddddddd.sif",
        "app-stand-in-eeeeeeeeeeee.sif",
    ]


def test_a_file_follows_from_its_image_and_from_how_files_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = target("sif")
    assert ours.needs == (TargetId("oci", "app"),)
    assert dict(ours.ingredients) == {
        "converter": 1,
        "made of OCI image app": target("oci").input_digest,
    }
    monkeypatch.setattr("imagefactory.targets.sif.kind.CONVERTER", 2)
    assert target("sif").input_digest != ours.input_digest
    assert target("sif").tests_digest == ours.tests_digest


def test_needs_of_a_cluster_have_the_file_tested_again() -> None:
    digests = {
        target("sif", spec(image=image(needs=needs))).tests_digest
        for needs in (Needs(), Needs(mpi=True), Needs(gpu=GPU))
    }
    assert len(digests) == 3


def test_an_archive_is_downloaded_by_the_definition_alone() -> None:
    text = definition(inputs=Inputs(sources={"app": ARCHIVE}))
    assert list(stages(text)) == ["download", "final"]
    assert "ln -sfn /inputs/sources /sources" in stages(text)["final"]


@pytest.mark.parametrize(
    ("in_folder", "free", "stopped"),
    [
        (None, "0 1 1 1", "wrote more to its working folder than its limit of 16 MiB"),
        (None, "1 1 1 0", "wrote more than its limit of 16 MiB"),
        # The caller's own folder has no bound of ours; what is printed has.
        (Path("folder"), "0 1 1 1", ""),
        (Path("folder"), "0 1 1 0", "wrote more than its limit of 16 MiB"),
        (Path("folder"), "0 0 1 1", "wrote more to /tmp than its limit of 64 MiB"),
    ],
)
def test_what_overflowed_is_told(in_folder: Path | None, free: str, stopped: str) -> None:
    call = Call(command=("true",), in_folder=in_folder)
    assert _outcome(call, 0, [f"0 {free}", ""], 0.1, within).stopped == stopped


def within(status: int, said: str) -> bool:
    return False


def beyond(status: int, said: str) -> bool:
    return status != 0


TOO_MUCH = "needed more memory than its limit of 512 MiB"


def test_want_of_memory_is_told() -> None:
    call = Call(command=("true",))
    ended = _outcome(call, 0, ["137 1 1 1 1", "", "Killed"], 0.1, beyond)
    assert (ended.status, ended.output, ended.stopped) == (137, "Killed", TOO_MUCH)
    assert not _outcome(call, 0, ["137 1 1 1 1", "", "Killed"], 0.1, within).stopped
    assert not _outcome(call, 0, ["0 1 1 1 1", "", "fine"], 0.1, beyond).stopped
    assert _outcome(call, 0, ["124 1 1 1 1", ""], 60.1, within).stopped.startswith("ran longer")
    assert _outcome(call, 0, ["124 1 1 1 1", ""], 60.1, beyond).stopped == TOO_MUCH  # which made it slow


def test_where_the_sandbox_itself_was_killed_memory_is_what_is_told() -> None:
    call = Call(command=("true",))
    assert _outcome(call, -9, [], 0.1, beyond).stopped == TOO_MUCH
    with pytest.raises(EngineError, match="can't run on this machine"):
        _outcome(call, -9, [], 0.1, within)


def test_what_tmpfs_folders_hold_is_memory_too() -> None:
    assert _tmpfs_bytes(Call(command=(), write_limit=MIB)) == 194 * MIB
    # The caller's own folder is none.
    assert _tmpfs_bytes(Call(command=(), write_limit=MIB, in_folder=Path("folder"))) == 193 * MIB


@pytest.mark.parametrize(
    ("said", "kind", "message"),
    [
        (
            "out of luck",
            BuildFailed,
            "app: the SIF file could not be written: mksquashfs ended with status 7",
        ),
        (
            "Write failed because No space left on device",
            *(DiskFull, "app: the SIF file could not be written: no space is left in "),
        ),
    ],
)
def test_the_squashing_program_has_the_last_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, kind: type[BuildFailed], message: str
) -> None:
    def run_errand(errand: Any, hear: Callable[[str], None], *words: Any) -> int:
        assert errand.script.startswith("mksquashfs - /proc/self/fd/3 -tar ")
        hear(said)
        return 7

    monkeypatch.setattr(convert, "run_errand", run_errand)
    log: Any = SimpleNamespace(id="app", path=tmp_path / "log", line=lambda line: None)
    nothing: Any = None
    with pytest.raises(kind) as caught:
        convert._write_system(nothing, nothing, "", tmp_path / "a.sif", tmp_path, 0, 0, log, Stop())
    assert type(caught.value) is kind
    assert caught.value.message.startswith(message)
    assert caught.value.tail == (said,)
