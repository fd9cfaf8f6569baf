"""Where a host is: on the internet, in this network, or on this machine."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

_Ip = ipaddress.IPv4Address | ipaddress.IPv6Address


def addresses_of(host: str, *, literal: bool = False) -> list[str]:
    """The addresses of a host, as the system finds them; none where there are none. With ``literal`` nobody
    is asked: only of what is an address already, in any form, and of ``localhost``.
    """
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return ["127.0.0.1"]
    flags = socket.AI_NUMERICHOST if literal else 0
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=flags)
    except (OSError, ValueError):
        return []
    return [str(place[0]) for *_, place in found]


def may_name(index: Collection[str], addresses: Collection[str]) -> bool:
    """Whether an index at those addresses may name files at these: on the internet; in a network where the
    index is in one; on this machine where the index is there; nowhere that is for this link alone.
    """
    ours = [_plain(address) for address in index]
    is_here, is_inside = (
        bool(ours) and all(map(_is_loopback, ours)),
        bool(ours) and not any(map(_is_global, ours)),
    )
    for ip in map(_plain, addresses):
        if ip.is_link_local or ip.is_multicast or (_is_loopback(ip) and not is_here):
            return False
        if not _is_global(ip) and not is_inside:
            return False
    return True


def is_of_machine(address: str) -> bool:
    """Whether nobody but this machine, and what is on its link, gets there."""
    ip = _plain(address)
    return _is_loopback(ip) or ip.is_link_local


def _plain(address: str) -> _Ip:
    """The address that is really meant, where one of IPv6 holds one of IPv4."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip


def _is_loopback(ip: _Ip) -> bool:
    return ip.is_loopback or ip.is_unspecified or ip in ipaddress.ip_network("0.0.0.0/8")


def _is_global(ip: _Ip) -> bool:
    return ip.is_global and not ip.is_multicast and not ip.is_reserved
