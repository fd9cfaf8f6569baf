"""What the factory knows of a project image, as a cloud is told of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from imagefactory.errors import BadFiles, BadInput
from imagefactory.model.recipe import BaseImage, Needs
from imagefactory.model.settings import CloudImages
from imagefactory.model.spec import BaseDefinition
from imagefactory.publish.content import Content
from imagefactory.publish.described import GIB, project_image
from imagefactory.publish.properties import ProjectImage, properties_of
from imagefactory.system.site import load_site
from imagefactory.system.workspace import Workspace
from imagefactory.targets.kind import MachineFacts
from tests.unit.samples import report, spec

DIGEST = "sha256:" + "0123456789abcdef" * 4
FACTS = MachineFacts("debian-13-vm", DIGEST, 3072)


def described(disk: int = 4 * GIB, needs: Needs | None = None, name: str = "debian-13-vm") -> ProjectImage:
    usual = BaseImage.model_validate(
        {
            "name": name,
            "title": "A machine",
            "distribution": "debian",
            "suite": "trixie",
            "packages": ("openssh-server",),
            "machine": {"user": "debian"},
        }
    )
    base = BaseDefinition(usual, "linux/amd64", 1_700_000_000)
    image = replace(spec().image, needs=needs or Needs())
    return project_image(image, report(), FACTS, base, disk, CloudImages(uuid_validity="last-3"))


def test_a_cloud_is_told_what_is_known() -> None:
    image = described()
    assert (image.distribution, image.release, image.architecture) == ("debian", "13", "amd64")
    assert (image.min_ram, image.container_digest) == (3072, DIGEST)
    told = properties_of(image)
    assert told["imagefactory_input_digest"] == "sha256:" + "e" * 64
    assert (told["replace_frequency"], told["uuid_validity"]) == ("never", "last-3")


@pytest.mark.parametrize(("disk", "least"), [(1, 1), (GIB, 1), (GIB + 1, 2), (10 * GIB, 10)])
def test_a_disk_has_room_for_all_of_it(disk: int, least: int) -> None:
    assert described(disk).min_disk == least


def test_a_desktop_gets_a_screen() -> None:
    assert properties_of(described(needs=Needs(desktop=True)))["hw_video_model"] == "virtio"


def test_a_vm_base_says_which_system_it_is() -> None:
    assert described(name="ubuntu-24.04-gpu-vm").release == "24.04"
    with pytest.raises(BadInput, match="this name does not say it"):
        described(name="ours-vm")


def test_the_disk_of_a_file_is_as_large_as_its_header_says(tmp_path: Path) -> None:
    compressed, raw = tmp_path / "disk.qcow2", tmp_path / "disk.raw"
    compressed.write_bytes(b"QFI\xfb" + bytes(20) + (10 * GIB).to_bytes(8, "big") + bytes(100))
    raw.write_bytes(b"\x55" * 512)
    with Content(compressed, "qcow2") as content:
        assert content.disk_bytes == 10 * GIB
    with Content(raw, "raw") as content:
        assert content.disk_bytes == 512


@pytest.mark.parametrize(
    "line", ["visibility: everybody", "uuid_validity: last", "provided_until: 2027-13-01", "uuid: none"]
)
def test_a_word_that_no_cloud_knows_is_told_with_its_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "site.yaml").write_text(f"cloud_images:\n  {line}\n")
    with pytest.raises(BadFiles) as caught:
        load_site(Workspace(tmp_path))
    (problem,) = caught.value.problems
    assert problem.line == 2
