"""QEMU's command line, and options that no machine can have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imagefactory.errors import BadInput, EngineError
from imagefactory.guest.options import BootOptions
from imagefactory.guest.programs import program
from imagefactory.guest.words import Wiring, machine_words

WIRING = Wiring(disk=10, format="qcow2", overlay=11, more=(12,), control=13, console=14, agent=15)


def nodes(words: list[str]) -> dict[str, dict[str, object]]:
    found = [json.loads(words[place + 1]) for place, word in enumerate(words) if word == "-blockdev"]
    return {node["node-name"]: node for node in found}


def test_only_the_overlay_can_be_written_to() -> None:
    found = nodes(machine_words("qemu", BootOptions(), WIRING))
    assert [name for name, node in found.items() if not node["read-only"]] == ["overlay-file", "overlay"]
    assert found["overlay"]["backing"] == "disk"
    assert found["disk"]["backing"] is None  # whatever its header says
    assert {node["driver"] for node in found.values()} == {"file", "qcow2", "raw"}
    assert all(
        "filename" not in node or str(node["filename"]).startswith("/dev/fdset/") for node in found.values()
    )


@pytest.mark.parametrize(("network", "has"), [("none", []), ("ssh", ["on"]), ("outside", ["off"])])
def test_nothing_listens_beyond_loopback(network: str, has: list[str]) -> None:
    words = machine_words("qemu", BootOptions(network=network), WIRING)  # type: ignore[arg-type]
    lines = [word for word in words if word.startswith("user,")]
    assert [line.split("restrict=")[1].split(",")[0] for line in lines] == has
    assert all("hostfwd=tcp:127.0.0.1:0-:22" in line for line in lines)
    assert not any(word in words for word in ("-vnc", "-spice", "-gdb", "-monitor"))


def test_every_descriptor_is_passed_on() -> None:
    wiring = Wiring(10, "raw", 11, (12, 17), 13, 14, 15, picture=16, uefi=(Path("/code"), 18))
    assert sorted(wiring.passed()) == list(range(10, 19))
    words = " ".join(machine_words("qemu", BootOptions(screen=True, firmware="uefi"), wiring))
    for number in (10, 11, 12, 16, 17, 18):
        assert f"-add-fd fd={number},set={number} " in f"{words} "
    for number in (13, 14, 15):
        assert f",fd={number} " in words
    assert "pflash0=code,pflash1=vars" in words


def test_what_is_missing_is_told() -> None:
    with pytest.raises(EngineError, match="no-such-thing, which virtual machines") as told:
        program("no-such-thing")
    assert "ci/setup vm" in told.value.hint


@pytest.mark.parametrize(
    "values", [{"user": "a b"}, {"user": "-oX"}, {"user": ""}, {"cores": 0}, {"memory": 0}]
)
def test_what_no_machine_can_be_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        BootOptions(**values)  # type: ignore[arg-type]
