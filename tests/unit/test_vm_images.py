"""VM images: what makes them again, how large they may be, their raw form, and who may publish them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from imagefactory.definitions.recipes import load_images
from imagefactory.drive.freeing import rubbish
from imagefactory.drive.result import Options
from imagefactory.drive.session import Session
from imagefactory.drive.tasks import build_targets
from imagefactory.drive.uncompressed import have_raw
from imagefactory.errors import BadInput
from imagefactory.inputs.debian import with_components
from imagefactory.locks import base_request
from imagefactory.model.report import HeldReport, NeedReport, PastReport, Report
from imagefactory.model.settings import SiteFile
from imagefactory.model.spec import Artifact, BaseSpec, ImageSpec
from imagefactory.model.target import Target, TargetId, Unlocked
from imagefactory.plan import Selection, judge
from imagefactory.plan.resolve import make_target
from imagefactory.publish.permission import require_permission
from imagefactory.system.log import Silence
from imagefactory.system.processes import Stop
from imagefactory.system.records import Record
from imagefactory.system.site import Site
from imagefactory.system.workspace import Workspace
from imagefactory.targets import register
from imagefactory.targets.kind import Held, Job, Kept
from imagefactory.targets.register import Kinds
from imagefactory.targets.vm.growth import size_test
from imagefactory.targets.vm.kind import VmKind
from imagefactory.targets.vmbase.system import settle_script, system_files
from tests.unit import toys
from tests.unit.samples import (
    RECIPE,
    apt_file,
    base_spec,
    definition,
    image,
    lock,
    lock_all,
    named,
    report,
    spec,
)

KINDS = ("vmbase", "base", "oci", "sif", "vm")


def whole_graph() -> dict[TargetId, Target | Unlocked]:
    """Two images with all that can be made of them, on one base image and one VM base."""
    machine = definition(name="debian-13-vm", published=None, machine={"user": "debian"}, packages=("nano",))
    vm_base = BaseSpec(machine, lock(image={"apt": (apt_file("nano"),)}))
    base = base_spec(base=definition(vm="debian-13-vm"))
    kinds = Kinds(Workspace(Path("/nowhere")))
    graph: dict[TargetId, Target | Unlocked] = {}
    for of in (spec(base=base), spec(base=base, image=image(id="other", recipe="other", repository="other"))):
        for kind in KINDS:
            chosen: ImageSpec | BaseSpec = {"vmbase": vm_base, "base": base}.get(kind, of)
            above = base.base if isinstance(chosen, ImageSpec) else None
            needs = kinds[kind].needs(chosen.name, above, of.image.needs)
            id = TargetId(kind, chosen.name)
            made = [each for need in needs if isinstance(each := graph[need], Target)]
            graph[id] = make_target(kinds[kind], id, chosen, made)
    return graph


def reports_of(graph: dict[TargetId, Target | Unlocked]) -> dict[TargetId, Report]:
    made: dict[TargetId, Report] = {}
    for id, each in graph.items():
        assert isinstance(each, Target)
        needs = tuple(
            NeedReport(kind=n.kind, id=n.name, input_digest=made[n].input_digest, digest=made[n].digest)
            for n in each.needs
        )
        made[id] = report(each, digest=f"sha256:{id}", needs=needs)
    return made


def test_another_container_digest_makes_its_vm_image_again_and_nothing_else() -> None:
    graph = whole_graph()
    made = reports_of(graph)
    oci, sif, vm = (TargetId(kind, "app") for kind in ("oci", "sif", "vm"))

    def to_make() -> dict[TargetId, tuple[str, ...]]:
        found = judge(graph, list(graph), made.get, lambda each, last: "")
        return {id: verdict.reasons for id, verdict in found.items() if verdict.action != "nothing"}

    assert to_make() == {}
    # The container and the SIF file of it were made again, of the same things, and came out otherwise.
    made[oci] = made[oci].model_copy(update={"digest": "sha256:" + "5" * 64})
    follows = tuple(
        need.model_copy(update={"digest": made[oci].digest}) if need.kind == "oci" else need
        for need in made[sif].needs
    )
    made[sif] = made[sif].model_copy(update={"needs": follows})
    assert to_make() == {vm: ("OCI image app came out otherwise: oci/app… → 55555555…",)}


def past(size: int, status: str = "passed") -> PastReport:
    return PastReport(
        built="2024-05-01T12:00:00Z",
        version="1.0",
        status=status,  # type: ignore[arg-type]
        input_digest="e" * 64,
        digest=f"sha256:{size}",
        bytes=size,
        seconds=1.0,
        tests={},
    )


MB = 1_000_000


@pytest.mark.parametrize(
    ("sizes", "size", "reason"),
    [
        ([], 400 * MB, ""),
        ([350 * MB], 380 * MB, ""),
        ([350 * MB], 300 * MB, ""),
        ([100 * MB, 350 * MB], 420 * MB, "it has grown by 20 %, from 350 to 420 MB: look at what came in"),
        ([350 * MB, 420 * MB], 420 * MB, "it has grown by 20 %, from 350 to 420 MB: look at what came in"),
    ],
    ids=["the first", "a little", "smaller", "more", "tested again"],
)
def test_growth_is_told_and_no_failure(sizes: list[int], size: int, reason: str) -> None:
    told = size_test(size, [past(900 * MB, "failed"), *map(past, sizes), past(10 * MB, "failed")])
    assert (told.name, told.status, told.reason) == ("size", "passed", reason)
    assert told.measures["bytes"] == size


def test_what_is_not_free_is_published_only_where_the_site_says_so() -> None:
    driver = apt_file("nvidia-smi", "550-1", file="pool/non-free/n/nvidia/nvidia-smi_550-1_amd64.deb")
    locked = lock(image={"apt": (apt_file("nano"), driver)})
    assert locked.non_free == ("nvidia-smi 550-1",)
    closed = report(non_free=locked.non_free)
    with pytest.raises(BadInput, match="app holds what not everybody may pass on: nvidia-smi 550-1"):
        require_permission(closed, SiteFile())
    require_permission(closed, SiteFile(publish_non_free=True))
    require_permission(report(), SiteFile())
    with pytest.raises(BadInput, match="stand-ins"):
        require_permission(report(stand_ins=("app",)), SiteFile(publish_non_free=True))


def test_more_components_of_an_archive_are_for_vm_bases() -> None:
    with pytest.raises(ValueError, match="'components' are for VM bases: leave them out"):
        definition(components=("non-free",))
    plain = definition(name="lab-vm", published=None, machine={"user": "lab"}, packages=("nano",))
    like = definition(
        name="gpu-vm",
        published=None,
        distribution=None,
        suite=None,
        like="lab-vm",
        components=("contrib", "non-free"),
        packages=("dkms",),
    )
    whole = like.base.whole(plain.base)
    assert (whole.components, whole.packages) == (("contrib", "non-free"), ("nano", "dkms"))
    more = dataclasses.replace(plain, base=whole)
    less = dataclasses.replace(plain, base=whole.model_copy(update={"components": ()}))
    assert base_request(more) != base_request(less)
    assert with_components("deb http://deb.example.org/debian trixie main", whole.components) == (
        "deb http://deb.example.org/debian trixie main contrib non-free"
    )


def test_modules_that_are_built_get_no_key() -> None:
    file = "etc/dkms/framework.conf.d/imagefactory.conf"
    for package, there in (("nvidia-kernel-dkms", True), ("nano", False)):
        machine = definition(name="x-vm", published=None, machine={"user": "lab"}, packages=(package,))
        of = BaseSpec(machine, lock(image={"apt": (apt_file(package),)}))
        assert (file in {each.path for each in system_files(of)}) == there
        assert ("NVIDIA's modules" in settle_script(of)) == there


class Disk(toys.Toy):
    """A toy whose disks have a raw form."""

    name = "toy"

    def write_raw(self, job: Job, kept: Kept) -> Artifact:
        toys.behaviour.order.append("raw")
        data = kept.path.read_bytes() * 2
        file = kept.path.with_suffix(".raw")
        file.write_bytes(data)
        return Artifact(f"sha256:{data.hex()}", len(data), path=str(file))


def test_a_raw_disk_is_written_once_and_reported(
    workspace: Callable[..., Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = dataclasses.replace(toys.LINES[0], place=f"{__name__}:Disk")
    monkeypatch.setattr(register, "_LINES", [register.line("base"), place])
    monkeypatch.setattr(toys, "behaviour", toys.Behaviour())
    monkeypatch.setattr("imagefactory.drive.tasks.sweep", lambda session: None)
    root = workspace(named(RECIPE, "a"), "a")
    lock_all(root)
    session = Session(root, Site(store=root.root / "store"), Kinds(root), Silence(), Stop())
    images = tuple(load_images(root, ["a"]))
    early = have_raw(session, images[0])
    assert early.error
    assert "is not built and tested" in early.error.message
    build_targets(session, Selection(images), Options(), ["toy"])
    done = have_raw(session, images[0])
    assert done.action == "build"
    last = session.last(TargetId("toy", "a"))
    assert last
    assert last.raw == HeldReport(file="a.raw", digest=f"sha256:{(b'data' * 2).hex()}", bytes=8)
    assert have_raw(session, images[0]).action == "nothing"
    assert toys.behaviour.order.count("raw") == 1
    assert rubbish(session, ["a"]) == []
    (root.build / "a" / "a.raw").write_bytes(b"half")
    assert have_raw(session, images[0]).action == "build"


def test_a_raw_disk_goes_with_its_image(tmp_path: Path) -> None:
    (tmp_path / "vm").mkdir()
    for name in ("app.qcow2", "app.raw"):
        (tmp_path / name).write_bytes(b"12345")
    raw = HeldReport(file="app.raw", digest="sha256:1", bytes=5)
    held = Held(report(reference="", file="app.qcow2", raw=raw), Record(tmp_path / "vm"))
    kind = VmKind(Workspace(tmp_path))
    assert kind.frees(held) == 10
    kind.remove(held)
    assert not list(tmp_path.glob("app.*"))
