"""What a cloud is told of an image: the standard's words, and nothing that it does not allow."""

from __future__ import annotations

import datetime
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from imagefactory.errors import BadInput, NetworkFault
from imagefactory.publish.answers import said
from imagefactory.publish.content import Content
from imagefactory.publish.marks import MARK, UPLOADING, is_abandoned, own_mark
from imagefactory.publish.properties import (
    FREQUENCIES,
    MAX_LETTERS,
    ProjectImage,
    Promises,
    check_properties,
    properties_of,
    tags_of,
)
from imagefactory.system.processes import Stop
from tests.conftest import REPOSITORY

DIGEST = f"sha256:{'0123456789abcdef' * 4}"
PROMISES = Promises("monthly", "last-3", "2027-06-30")
IMAGE = ProjectImage(
    recipe="hello",
    title="Hello",
    version="2.12-1",
    input_digest=DIGEST,
    container_digest=DIGEST.replace("0", "f"),
    architecture="amd64",
    distribution="debian",
    release="12",
    user="debian",
    min_disk=4,
    min_ram=512,
    built="2026-11-28T20:38:04Z",
    promises=PROMISES,
)


def test_all_properties() -> None:
    assert properties_of(IMAGE) == {
        "architecture": "x86_64",
        "min_disk": 4,
        "min_ram": 512,
        "os_type": "linux",
        "os_distro": "debian",
        "os_version": "12",
        "os_purpose": "custom",
        "os_admin_user": "debian",
        "hw_disk_bus": "scsi",
        "hw_scsi_model": "virtio-scsi",
        "hw_rng_model": "virtio",
        "hw_machine_type": "q35",
        "hw_vif_multiqueue_enabled": "true",
        "hw_qemu_guest_agent": "no",
        "replace_frequency": "monthly",
        "uuid_validity": "last-3",
        "provided_until": "2027-06-30",
        "image_source": "private",
        "image_description": "Hello",
        "image_build_date": "2026-11-28 20:38:04",
        "image_original_user": "debian",
        "imagefactory_recipe": "hello",
        "imagefactory_title": "Hello",
        "imagefactory_version": "2.12-1",
        "imagefactory_input_digest": DIGEST,
        "imagefactory_container_digest": DIGEST.replace("0", "f"),
    }
    assert tags_of(IMAGE) == ("managed_by_imagefactory", "os:debian")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"architecture": "arm64", "firmware": "uefi"},
            {"architecture": "aarch64", "hw_machine_type": "virt", "hw_firmware_type": "uefi"},
        ),
        ({"firmware": "bios", "machine": "pc"}, {"hw_firmware_type": "bios", "hw_machine_type": "pc"}),
        ({"disk_bus": "virtio"}, {"hw_disk_bus": "virtio", "hw_scsi_model": None}),
        ({"firmware": "both"}, {"hw_firmware_type": None}),
        ({"gpu": True}, {"os_purpose": "gpu"}),
        ({"gpu": True, "purpose": "minimal"}, {"os_purpose": "minimal"}),
        ({"desktop": True}, {"hw_video_model": "virtio"}),
        ({"desktop": False}, {"hw_video_model": None}),
        ({"guest_agent": True}, {"hw_qemu_guest_agent": "yes"}),
        ({"variant": "mpi"}, {"imagefactory_variant": "mpi"}),
        ({"variant": ""}, {"imagefactory_variant": None}),
        ({"distribution": "ubuntu", "release": "24.04"}, {"os_distro": "ubuntu", "os_version": "24.04"}),
        ({"description": "All of it"}, {"image_description": "All of it", "imagefactory_title": "Hello"}),
        ({"source": "https://example.org/a?b=c"}, {"image_source": "https://example.org/a?b=c"}),
        ({"built": "2026-11-28"}, {"image_build_date": "2026-11-28"}),
        ({"built": "2026-11-28T23:30:00-05:00"}, {"image_build_date": "2026-11-29 04:30:00"}),
        ({"built": "2026-11-28 20:38"}, {"image_build_date": "2026-11-28 20:38:00"}),
        (
            {"title": "${HOME} {{ 7 * 7 }} 'a' \"b\" <c> ä"},
            {"imagefactory_title": "${HOME} {{ 7 * 7 }} 'a' \"b\" <c> ä"},
        ),
    ],
)
def test_what_follows_from_what(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    properties = properties_of(replace(IMAGE, **changes))
    assert {name: properties.get(name) for name in expected} == expected


@pytest.mark.parametrize("frequency", FREQUENCIES)
@pytest.mark.parametrize("validity", ["none", "last-1", "last-12", "2028-02-29", "notice", "forever"])
@pytest.mark.parametrize("until", ["none", "notice", "2028-02-29"])
def test_every_promise_of_the_standard(frequency: str, validity: str, until: str) -> None:
    properties = properties_of(replace(IMAGE, promises=Promises(frequency, validity, until)))
    assert properties["replace_frequency"] == frequency
    assert properties["uuid_validity"] == validity
    assert properties["provided_until"] == until


@pytest.mark.parametrize(
    ("promises", "message"),
    [
        (
            Promises("hourly"),
            "yearly or quarterly or monthly or weekly or daily or critical_bug or never, found 'hourly'",
        ),
        (
            Promises("never", "last-0"),
            "expected none, notice, forever, last-N or a date such as 2027-06-30, found 'last-0'",
        ),
        (Promises("never", "last-N"), "found 'last-N'"),
        (Promises("never", "2027-02-29"), "found '2027-02-29'"),
        (Promises("never", "20270228"), "found '20270228'"),
        (Promises("never", "2027-W01-1"), "found '2027-W01-1'"),
        (Promises("never", ""), "found ''"),
        (
            Promises("never", "none", "forever"),
            "provided_until: expected none, notice or a date such as 2027-06-30, found 'forever'",
        ),
        (Promises("never", "none", "last-3"), "found 'last-3'"),
        (Promises("never", "none", "2027-06-30\n"), "found '2027-06-30\\n'"),
    ],
)
def test_other_promises(promises: Promises, message: str) -> None:
    with pytest.raises(BadInput, match=f"{re.escape(message)}$"):
        properties_of(replace(IMAGE, promises=promises))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "x86_64"}, "architecture: expected amd64 or arm64, found 'x86_64'"),
        ({"distribution": "Debian"}, "distribution: expected debian or ubuntu, found 'Debian'"),
        ({"release": "bookworm"}, "release: expected a number such as 12 or 24.04, found 'bookworm'"),
        ({"firmware": "efi"}, "firmware: expected bios or uefi or both, found 'efi'"),
        ({"architecture": "arm64", "firmware": "bios"}, "firmware: no machine of arm64 boots with bios"),
        ({"architecture": "arm64", "machine": "q35"}, "machine: expected virt, found 'q35'"),
        ({"disk_bus": "ide"}, "disk_bus: expected scsi or virtio, found 'ide'"),
        (
            {"purpose": "k8snode"},
            "purpose: expected generic or minimal or gpu or network or custom, found 'k8snode'",
        ),
        ({"user": "Robert'); DROP"}, "user: expected the name of an account, such as debian, found"),
        ({"input_digest": "sha256:abc"}, "input_digest: expected sha256: and 64 hexadecimal digits, found"),
        (
            {"container_digest": DIGEST[7:]},
            "container_digest: expected sha256: and 64 hexadecimal digits, found",
        ),
        ({"recipe": "../up"}, "recipe: expected letters, digits and . _ + ~ : -, found '../up'"),
        ({"version": "1 2"}, "version: expected letters, digits and . _ + ~ : -, found '1 2'"),
        ({"variant": "a\nb"}, "variant: expected letters, digits and . _ + ~ : -, found"),
        (
            {"source": "file:///etc/passwd"},
            "source: expected an address that begins with http(s)://, or private",
        ),
        ({"source": "https://example.org/a b"}, "source: expected an address"),
        ({"min_disk": 0}, "min_disk: expected 1 to 16384 GiB, found 0"),
        ({"min_ram": -1}, "min_ram: expected 1 to 4194304 MiB, found -1"),
        ({"built": "yesterday"}, "built: expected a date, or a date and a time, such as"),
        ({"built": "2026-02-30"}, "built: expected a date"),
        ({"built": ""}, "built: expected a date"),
        ({"title": ""}, "image_description: expected a text, found nothing"),
        ({"title": "a\nb"}, "image_description: expected one line without control characters, found 'a\\nb'"),
        (
            {"description": "a\x1b[2J"},
            "image_description: expected one line without control characters, found",
        ),
        ({"description": "x" * 256}, "image_description: Glance takes 255 letters, found 256"),
        ({"source": f"https://example.org/{'x' * 255}"}, "image_source: Glance takes 255 letters, found 275"),
    ],
)
def test_what_is_not_allowed(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=f"^{re.escape(message)}"):
        properties_of(replace(IMAGE, **changes))


def test_as_long_as_can_be() -> None:
    assert (
        properties_of(replace(IMAGE, description="ä" * MAX_LETTERS))["image_description"] == "ä" * MAX_LETTERS
    )
    with pytest.raises(BadInput, match="Glance takes names of 255 letters, found 256"):
        check_properties({"x" * 256: "y"})


def test_nothing_is_said_to_be_signed() -> None:
    """Nova checks signatures by itself, and a word of ours must not be taken for that."""
    for field in fields(IMAGE):
        assert "sign" not in field.name
    everything = replace(IMAGE, gpu=True, desktop=True, guest_agent=True, variant="a", firmware="uefi")
    assert not [name for name in properties_of(everything) if "sign" in name]


def test_the_page_has_all_properties() -> None:
    page = (REPOSITORY / "docs" / "reference" / "glance.md").read_text()
    everything = replace(IMAGE, gpu=True, desktop=True, guest_agent=True, variant="a", firmware="uefi")
    assert sorted(set(re.findall(r"^\| `([a-z_]+)`", page, re.MULTILINE))) == sorted(
        properties_of(everything)
    )


def image_of(mark: str, age: datetime.timedelta = datetime.timedelta()) -> dict[str, Any]:
    """An image under way, as Glance tells of it."""
    began = datetime.datetime.now(datetime.UTC) - age
    return {"tags": [UPLOADING], MARK: mark, "created_at": f"{began:%Y-%m-%dT%H:%M:%SZ}"}


def test_whose_upload_is_abandoned() -> None:
    mine = own_mark()
    gone = re.sub(r"-\d+-\d+$", "-1-0", mine)  # the same process, had it started at another time
    day = datetime.timedelta(days=1, minutes=1)
    assert not is_abandoned(image_of(mine))
    assert is_abandoned(image_of(gone))
    elsewhere = f"another-boot/{gone.partition('/')[2]}"
    assert not is_abandoned(image_of(elsewhere))
    assert is_abandoned(image_of(elsewhere, day))
    assert not is_abandoned(image_of(""))
    assert not is_abandoned({**image_of(gone, day), "tags": ["imagefactory"]})


def test_a_file_that_shrinks_is_no_transfer(tmp_path: Path) -> None:
    file = tmp_path / "disk"
    file.write_bytes(b"x" * (3 << 20))
    went: list[tuple[int, int]] = []
    with Content(file, "raw") as content:
        assert content.sha512(Stop()) == content.sha512(Stop())
        pieces = content.pieces(lambda *n: went.append(n))
        assert b"".join(pieces) == file.read_bytes()
        assert pieces.sha512 == content.sha512(Stop())
        assert went == [(n << 20, 3 << 20) for n in (1, 2, 3)]
        with file.open("r+b") as shorter:
            shorter.truncate(1 << 20)
        with pytest.raises(Exception, match="became shorter while it was sent"):
            list(content.pieces(lambda *n: None))


def test_the_reason_is_found_in_what_libraries_say() -> None:
    pool = "HTTPConnectionPool(host='h', port=1): Max retries exceeded with url: /v3 "
    refused = """(Caused by NewConnectionError("HTTPConnection(host='h', port=1): Failed to establish a new"""
    refused += """ connection: [Errno 111] Connection refused"))"""
    unable = "Unable to establish connection to http://h:1/v3: "
    assert said(NetworkFault(f"{unable}{pool}{refused}")) == "Connection refused"
    ended = "(Caused by SSLError(SSLEOFError(8, '[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred in"
    ended = f"SSL exception connecting to https://h: {pool}{ended} violation of protocol (_ssl.c:1006)')))"
    assert said(NetworkFault(ended)) == "EOF occurred in violation of protocol"
    aborted = (
        "Unable to establish connection to http://h: ('Connection aborted.', RemoteDisconnected('Remote end"
    )
    aborted += " closed connection without response'))"
    assert said(NetworkFault(aborted)) == "Remote end closed connection without response"
    timeout = "Request to http://h timed out (HTTP 408) (Request-ID: req-1)"
    assert said(NetworkFault(timeout)) == "Request to http://h timed out"
