"""VM bases: their files, what makes their locks stale, and what is told to the programs that make them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from imagefactory.definitions.bases import load_base
from imagefactory.errors import BadFiles, BadInput
from imagefactory.locks import base_request, changes, read_locks, write_locks
from imagefactory.model.recipe import BaseImage, Needs
from imagefactory.model.spec import BaseDefinition, BaseSpec
from imagefactory.model.target import Target, TargetId
from imagefactory.plan.resolve import Resolver
from imagefactory.system.processes import Finished
from imagefactory.system.site import Site
from imagefactory.system.workspace import Workspace
from imagefactory.targets.register import Kinds
from imagefactory.targets.vm.choice import chosen_base
from imagefactory.targets.vmbase.private import private_list
from imagefactory.targets.vmbase.system import names_of, system_files
from tests.unit.samples import GPU, RECIPE, apt_file, lock, lock_all

Make = Callable[..., Workspace]

WHOLE: dict[str, Any] = {
    "name": "lab-vm",
    "title": "A machine",
    "distribution": "debian",
    "suite": "bookworm",
    "packages": ["nano"],
    "machine": {
        "user": "lab",
        "newer": {"forky": ["docker.io"]},
        "private": {"sid": {"apptainer": ["zlib1g", "libc6"], "other": ["libc6"]}},
    },
}
TAKEN: dict[str, Any] = {
    "user": "lab",
    "from": {"url": "https://example.org/a/lab.qcow2", "sha512": "5" * 128},
}


def definition(**machine: Any) -> BaseDefinition:
    whole = {**WHOLE, "machine": {**WHOLE["machine"], **machine}}
    return BaseDefinition(BaseImage.model_validate_json(json.dumps(whole)), "linux/amd64", 1_700_000_000)


def spec(of: BaseDefinition | None = None, **stages: Any) -> BaseSpec:
    image = {"apt": (apt_file("nano"),)}
    tools = {"apt": tuple(apt_file(name, "9") for name in ("apptainer", "libc6", "patchelf", "zlib1g"))}
    return BaseSpec(of or definition(), lock(**{"image": image, "tools": tools, **stages}))


def problem(root: Workspace, **changed: Any) -> str:
    """What is wrong with such a file, or nothing."""
    whole = {key: value for key, value in {**WHOLE, **changed}.items() if value is not None}
    (root.bases / f"{whole['name']}.yaml").write_text(json.dumps(whole, indent=1))
    try:
        load_base(root, whole["name"])
    except BadFiles as error:
        (found,) = error.problems
        return str(found).partition(": ")[2]
    return ""


def test_a_vm_base_is_good(workspace: Make) -> None:
    assert problem(workspace(RECIPE)) == ""


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": "lab"}, "what has 'machine' or 'like' is called …-vm, and nothing else is: rename it"),
        ({"machine": None}, "what has 'machine' or 'like' is called …-vm, and nothing else is: rename it"),
        ({"published": "lab:1"}, "a VM base is no image that could be pulled: leave out 'published'"),
        (
            {"from": f"ghcr.io/lab/base@sha256:{'0' * 64}"},
            "a VM base is no image of a registry: leave out 'from', or have it below 'machine'",
        ),
        (
            {"suite": None, "packages": None},
            "it lacks 'suite', or 'machine: {from: …}' with a disk",
        ),
        ({"machine": TAKEN}, "'from' takes a disk as it is: leave out 'distribution'"),
        (
            {"machine": TAKEN, "distribution": None, "suite": None},
            "'from' takes a disk as it is: leave out 'packages'",
        ),
        (
            {"packages": ["apptainer"]},
            "'apptainer' is in 'private', and is installed as well: leave out one of them",
        ),
    ],
)
def test_what_a_vm_base_cannot_be(workspace: Make, changed: dict[str, Any], said: str) -> None:
    assert problem(workspace(RECIPE), **changed) == f"the file: {said}"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"user": "root; id"}, "machine.user: expected a user's name, such as debian, found 'root; id'"),
        ({"user": "Debian"}, "machine.user: expected a user's name, such as debian, found 'Debian'"),
        ({"newer": {"sid main": ["nano"]}}, "machine.newer"),
        ({"newer": {"sid": []}}, "machine.newer.sid"),
        ({"newer": {"sid": ["a$(id)"]}}, "machine.newer.sid"),
        ({"private": {"sid": {}}}, "machine.private.sid"),
        ({"private": {"sid": {"apptainer": []}}}, "machine.private.sid.apptainer"),
        ({"private": {"sid": {"../x": ["libc6"]}}}, "machine.private.sid"),
        ({"private": {"sid": {"apptainer": ["libc6 zlib1g"]}}}, "machine.private.sid.apptainer"),
        ({"private": {"sid": {"a-b": ["libc6"]}, "forky": {"c-d": ["libc6"]}}}, "machine: 'libc6' is in two"),
        ({"newer": {"forky": ["apptainer"]}}, "the file: 'apptainer' is in 'private', and is installed"),
        ({"kernel": "mine"}, "unknown key 'kernel'"),
        ({"from": TAKEN["from"]}, "'from' takes a disk as it is: leave out 'newer' and 'private'"),
        ({"from": {"url": "https://example.org/a.qcow2"}}, "the key 'sha512' is missing"),
        (
            {"from": {**TAKEN["from"], "sha512": "5" * 64}},
            "machine.from.sha512: expected a sha512: 128 digits",
        ),
        ({"from": {**TAKEN["from"], "url": "https://example.org/a/.."}}, "machine.from"),
        ({"from": {**TAKEN["from"], "url": "https://me:pw@example.org/a"}}, "machine.from.url"),
    ],
)
def test_what_its_machine_cannot_be(workspace: Make, changed: dict[str, Any], said: str) -> None:
    assert said in problem(workspace(RECIPE), machine={**WHOLE["machine"], **changed})


def test_a_disk_of_others_is_good(workspace: Make) -> None:
    plain = dict.fromkeys(("distribution", "suite", "packages"))
    assert problem(workspace(RECIPE), machine=TAKEN, **plain) == ""
    taken = BaseImage.model_validate_json(json.dumps({"name": "lab-vm", "title": "It", "machine": TAKEN}))
    assert taken.disk
    assert taken.disk.filename == "lab.qcow2"
    before = base_request(BaseDefinition(taken, "linux/amd64", 0))
    machine = {**TAKEN, "from": {**TAKEN["from"], "sha512": "6" * 128}}
    other = BaseImage.model_validate_json(json.dumps({"name": "lab-vm", "title": "It", "machine": machine}))
    assert base_request(BaseDefinition(other, "linux/amd64", 0)) != before


def test_one_may_be_like_another_with_more(workspace: Make) -> None:
    root = workspace(RECIPE)
    assert problem(root) == ""
    like = '{"name": "more-vm", "title": "More", "like": "lab-vm", "packages": ["nano", "xterm"]}'
    (root.bases / "more-vm.yaml").write_text(like)
    most = '{"name": "most-vm", "title": "Most", "like": "more-vm", "packages": ["xrdp"]}'
    (root.bases / "most-vm.yaml").write_text(most)
    packages = ["nano", "xterm", "xrdp"]
    written_out = {**WHOLE, "name": "most-vm", "title": "Most", "packages": packages}
    found = load_base(root, "most-vm")
    assert found.base == BaseImage.model_validate_json(json.dumps(written_out))
    assert base_request(found) != base_request(load_base(root, "lab-vm"))
    assert problem(root, packages=["less"]) == ""  # a change in what it is like shows at once
    assert load_base(root, "most-vm").base.packages == ("less", "nano", "xterm", "xrdp")


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ({"like": "lab-vm"}, "the file: it lacks 'packages': what it has beside those of lab-vm"),
        ({"like": "lab-vm", "packages": ["apptainer"]}, "'apptainer' is in 'private', and is installed as"),
        ({"like": "taken-vm", "packages": ["nano"]}, "taken-vm is a disk that others publish: nothing can"),
        ({"like": "more-vm", "packages": ["nano"]}, "more-vm is like more-vm itself"),
        ({"like": "other-vm", "packages": ["nano"]}, "no VM base 'other-vm', there is: lab-vm, taken-vm"),
        (
            {"like": "lab-vm", "packages": ["nano"], "suite": "sid"},
            "the file: 'like' takes the rest from lab-vm: leave out 'suite'",
        ),
        (
            {"like": "lab-vm", "packages": ["nano"], "machine": {"user": "me"}},
            "the file: 'like' takes the rest from lab-vm: leave out 'machine'",
        ),
    ],
)
def test_what_is_like_another_says_only_what_is_more(
    workspace: Make, file: dict[str, Any], said: str
) -> None:
    root = workspace(RECIPE)
    assert problem(root) == ""
    taken = {"name": "taken-vm", "title": "It", "machine": TAKEN}
    (root.bases / "taken-vm.yaml").write_text(json.dumps(taken))
    (root.bases / "more-vm.yaml").write_text(json.dumps({"name": "more-vm", "title": "More", **file}))
    with pytest.raises(BadFiles) as caught:
        load_base(root, "more-vm")
    assert said in str(caught.value.problems[0])


@pytest.mark.parametrize(
    ("vm", "said"),
    [
        ("lab", "the file: 'vm' names VM bases, which are called …-vm: lab is none"),
        ({"gpu": "lab"}, "vm: 'vm' names VM bases, which are called …-vm: lab is none"),
        ({"desk": "lab-vm"}, "unknown key 'desk', did you mean 'desktop'?"),
        (["lab-vm"], "vm: expected text, found a list"),
    ],
)
def test_what_a_base_image_cannot_name(workspace: Make, vm: Any, said: str) -> None:
    assert said in problem(workspace(RECIPE), name="lab", machine=None, published="debian:12-slim", vm=vm)


DESKTOP = Needs(desktop=True)
CARD = Needs(gpu=GPU)


def base(vm: Any) -> BaseImage:
    plain = {"name": "lab", "title": "It", "distribution": "debian", "suite": "sid", "published": "lab:1"}
    return BaseImage.model_validate_json(json.dumps({**plain, "vm": vm}))


def test_an_application_gets_the_vm_base_for_what_it_needs() -> None:
    both = CARD.model_copy(update={"desktop": True})
    named = base({"plain": "a-vm", "desktop": "b-vm", "gpu": "c-vm", "desktop_gpu": "d-vm"})
    chosen = [chosen_base("app", named, needs) for needs in (Needs(), DESKTOP, CARD, both)]
    assert chosen == ["a-vm", "b-vm", "c-vm", "d-vm"]
    assert chosen_base("app", base("a-vm"), Needs(mpi=True)) == "a-vm"


@pytest.mark.parametrize(
    ("vm", "needs", "said", "hint"),
    [
        (
            None,
            Needs(),
            "base image lab names no VM base",
            "add a line to base_images/lab.yaml, such as: vm: ",
        ),
        (
            "a-vm",
            DESKTOP,
            "app: it needs a desktop, and base image lab names no VM base for that",
            "name one in base_images/lab.yaml, such as: vm: {plain: a-vm, desktop: debian-13-desktop-vm}",
        ),
        (
            {"gpu": "c-vm"},
            Needs(),
            "app: it needs neither a desktop nor a GPU, and",
            "vm: {gpu: c-vm, plain: ",
        ),
        ({"desktop": "b-vm"}, CARD, "app: it needs a GPU, and", "{desktop: b-vm, gpu: debian-13-gpu-vm}"),
    ],
)
def test_a_need_without_a_vm_base_is_told_with_what_to_write(
    vm: Any, needs: Needs, said: str, hint: str
) -> None:
    with pytest.raises(BadInput) as caught:
        chosen_base("app", base(vm), needs)
    assert said in caught.value.message
    assert hint in caught.value.hint
    line = caught.value.hint.partition("such as: ")[2]
    chosen_base("app", base(yaml.safe_load(line)["vm"]), needs)  # what it says to write is right


def test_a_base_image_does_not_depend_on_the_vm_base_that_it_names(
    workspace: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither its ingredients nor its date, of which its bytes follow."""
    root = workspace(RECIPE)
    dates = {"debian-12.yaml": 1_700_000_000, "debian-12.lock.yaml": 1_700_000_000}

    def git(argv: list[str], **options: Any) -> Finished:
        last = max((dates.get(name, 0) for name in argv[argv.index("--") + 1 :]) if "log" in argv else [0])
        return Finished(0, f"{last:040} {last}\n" if last else "", "")

    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    monkeypatch.setattr("imagefactory.system.history.run", git)
    monkeypatch.setattr("imagefactory.system.history.which", lambda program: program)
    lock_all(root)

    def digest() -> str:
        id = TargetId("base", "debian-12")
        target = Resolver(root, Site(), Kinds(root)).graph((), [id])[id]
        assert isinstance(target, Target)
        return target.input_digest

    before = digest()
    file = root.bases / "debian-12.yaml"
    text = file.read_text().partition("vm:")[0]
    file.write_text(f"{text}vm: {{plain: other-vm, desktop: more-vm}}\n")
    dates["debian-12.yaml"] += 86400
    assert digest() == before
    dates["debian-12.lock.yaml"] += 86400
    file.write_text(file.read_text() + "# read again\n")
    assert digest() != before  # packages of another day would be seen


def test_what_makes_its_lock_stale() -> None:
    before = base_request(definition())
    assert base_request(definition(user="other")) == before
    assert base_request(definition(newer={"forky": ["docker.io", "tini"]})) != before
    assert base_request(definition(newer={"sid": ["docker.io"]})) != before
    assert base_request(definition(private={"sid": {"apptainer": ["zlib1g"], "other": ["libc6"]}})) == before
    assert base_request(definition(private={"sid": {"apptainer": ["zlib1g"]}})) != before
    assert base_request(definition(private={"forky": {"apptainer": ["zlib1g", "libc6"]}})) != before


def test_its_lock_is_written_and_read(tmp_path: Path) -> None:
    file, ours = tmp_path / "lab-vm.lock.yaml", spec().lock
    assert write_locks(file, {"lab-vm": ours}, "linux/amd64")
    assert "used_by: [lab-vm/tools]" in file.read_text()
    (read,) = read_locks(Workspace(tmp_path), file, "linux/amd64").values()
    assert (read, read.digest) == (ours, ours.digest)
    assert {f.name for _, f in read.files()} == {"nano", "apptainer", "libc6", "patchelf", "zlib1g"}
    assert read.system_packages == {"nano": "2.10-3"}  # what its dpkg is given by its archive
    other = spec(tools={"apt": (apt_file("apptainer", "10", stand_in=True),)}).lock
    assert other.stand_ins == ("apptainer",)
    assert "apptainer 9 → 10" in map(str, changes(ours, other))
    assert other.digest != ours.digest


def test_the_list_of_what_is_private() -> None:
    machine = definition().machine
    assert machine
    assert private_list(machine) == "apptainer zlib1g libc6\nother libc6\n"


def test_a_disk_has_its_names_from_its_packages() -> None:
    names = names_of(spec())
    assert len(set(names.values())) == 5
    assert names_of(spec()) == names
    moved = spec(image={"apt": (apt_file("nano", "3", sha256="e" * 64),)})
    assert not set(names_of(moved).values()) & set(names.values())


def test_its_settings_are_whole_files() -> None:
    files = {file.path: file for file in system_files(spec())}
    assert {file.mode for file in files.values()} == {0o644}
    root = names_of(spec())["ROOT_FS"]
    assert files["etc/fstab"].data.startswith(f"UUID={root} / ext4 ".encode())
    assert files["boot/grub/grub.cfg"].data.count(f"root=UUID={root} ".encode()) == 2
    cloud = yaml.safe_load(files["etc/cloud/cloud.cfg.d/60_imagefactory.cfg"].data)
    assert cloud["system_info"]["default_user"]["name"] == "lab"
    assert cloud["system_info"]["default_user"]["lock_passwd"] is True
    assert cloud["disable_root"] is True
    json.loads(files["etc/docker/daemon.json"].data)
