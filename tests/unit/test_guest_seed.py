"""What a cloud tells a machine: values stay values."""

from __future__ import annotations

import json

import pytest
import yaml

from imagefactory.errors import BadInput
from imagefactory.guest.seed import MAC, Seed, seed_files

KEY = "ssh-ed25519 AAAAC3Nz imagefactory"
NASTY = "a: b\n#cloud-config\nruncmd: [evil]\n\x07\"'\u2028 {}"
DATA = {"write_files": [{"path": "/etc/it", "content": NASTY}], "runcmd": [["echo", NASTY]], "fqdn": NASTY}


def test_nothing_is_said_where_there_is_nothing_to_say() -> None:
    for way, name in (("nocloud", "user-data"), ("config-drive", "openstack/latest/user_data")):
        assert seed_files(Seed(way), KEY, network=True)[name] == b""  # type: ignore[arg-type]


def test_user_data_are_the_values_that_were_given() -> None:
    for way, name in (("nocloud", "user-data"), ("config-drive", "openstack/latest/user_data")):
        text = seed_files(Seed(way, user_data=DATA), KEY, network=True)[name].decode()  # type: ignore[arg-type]
        assert text.startswith("#cloud-config\n")
        assert yaml.safe_load(text) == DATA


def test_each_way_gives_the_key_the_name_and_the_card() -> None:
    files = seed_files(Seed(hostname="here"), KEY, network=True)
    assert sorted(files) == ["meta-data", "network-config", "user-data"]
    about = yaml.safe_load(files["meta-data"])
    assert (about["local-hostname"], about["public-keys"]) == ("here", [KEY])
    assert yaml.safe_load(files["network-config"])["ethernets"]["eth0"]["match"] == {"macaddress": MAC}
    files = seed_files(Seed("config-drive", "here"), KEY, network=True)
    about = json.loads(files["openstack/latest/meta_data.json"])
    assert (about["hostname"], about["public_keys"]) == ("here", {"guest": KEY})
    wires = json.loads(files["openstack/latest/network_data.json"])
    assert [link["ethernet_mac_address"] for link in wires["links"]] == [MAC]


@pytest.mark.parametrize("way", ["nocloud", "config-drive"])
def test_without_a_card_none_is_waited_for(way: str) -> None:
    files = seed_files(Seed(way), KEY, network=False)  # type: ignore[arg-type]
    assert not any(MAC.encode() in data for data in files.values())


@pytest.mark.parametrize(
    "values",
    [
        {"hostname": "a\nb"},
        {"hostname": ""},
        {"hostname": "a" * 64},
        {"instance": "x: y"},
        {"user_data": {"runcmd: [evil]\nx": 1}},
    ],
)
def test_what_is_no_name_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        Seed(**values)  # type: ignore[arg-type]
