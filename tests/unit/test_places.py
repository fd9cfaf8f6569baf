"""Where files may lie that an index names."""

from __future__ import annotations

import pytest

from imagefactory.system.places import addresses_of, is_of_machine, may_name

PUBLIC, PUBLIC6 = "93.184.215.14", "2606:4700::6810:1"
HERE = ("127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "0.1.2.3", "::", "::ffff:127.0.0.1", "64:ff9b::7f00:1")
INSIDE = ("10.0.0.1", "172.16.3.4", "192.168.1.1", "100.64.0.1", "fd00:ec2::254", "::ffff:10.0.0.1")
LINK = ("169.254.169.254", "fe80::1", "fe80::1%1", "::ffff:169.254.169.254", "2002:a9fe:a9fe::", "224.0.0.1")


@pytest.mark.parametrize("index", [[], [PUBLIC], [PUBLIC6], [PUBLIC, "10.0.0.1"], [PUBLIC, "127.0.0.1"]])
def test_what_is_on_the_internet_names_what_is_there(index: list[str]) -> None:
    assert may_name(index, [PUBLIC, PUBLIC6, "::ffff:93.184.215.14", "64:ff9b::5db8:d70e"])
    for address in (*HERE, *INSIDE, *LINK, "255.255.255.255"):
        assert not may_name(index, [address])
        assert not may_name(index, [PUBLIC, address])


def test_an_index_of_a_network_names_what_is_in_networks() -> None:
    assert may_name(["10.1.2.3"], [PUBLIC, *INSIDE])
    assert not any(may_name(["10.1.2.3"], [address]) for address in (*HERE, *LINK))


def test_an_index_of_this_machine_names_what_is_here() -> None:
    assert may_name(["127.0.0.1", "::1"], [PUBLIC, *INSIDE, *HERE])
    assert not any(may_name(["127.0.0.1"], [address]) for address in LINK)
    assert not may_name(["127.0.0.1", "10.1.2.3"], ["127.0.0.1"])


def test_a_host_without_addresses_is_left_to_who_asks_for_it() -> None:
    assert may_name([PUBLIC], [])


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1", "localhost", "a.LocalHost."],
)
@pytest.mark.parametrize("literal", [True, False])
def test_every_form_of_an_address_is_one(host: str, literal: bool) -> None:
    assert addresses_of(host, literal=literal) == ["127.0.0.1"]


@pytest.mark.parametrize("host", ["files.example.org", "a" * 70, "\udcff", ""])
def test_nobody_is_asked_for_a_name_that_a_proxy_finds(host: str) -> None:
    assert not any(not is_of_machine(address) for address in addresses_of(host, literal=True))


def test_what_is_of_this_machine() -> None:
    assert all(map(is_of_machine, HERE))
    assert not any(map(is_of_machine, (PUBLIC, PUBLIC6, *INSIDE)))
