"""What a cloud tells a machine at its first boot, as a disk: a NoCloud seed, or OpenStack's config drive.

Formats: https://docs.cloud-init.io/en/latest/reference/datasources/nocloud.html and
https://docs.openstack.org/nova/latest/user/metadata.html. Both give the key that may log in as metadata,
so that user data are free for what a test brings.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from imagefactory.errors import BadInput, BuildFailed, disk_error
from imagefactory.guest.programs import program
from imagefactory.system.files import remove_tree
from imagefactory.system.processes import run
from imagefactory.yamlfiles.write import dump

MAC = "52:54:00:69:66:01"
"""The address of a machine's network card. Its network has nobody else."""

_LABELS = {"nocloud": "cidata", "config-drive": "config-2"}
_DATE = 946684800  # of all files: 2000-01-01, which FAT and ISO 9660 can both hold
_HOST = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_KEY = re.compile(r"[a-z][a-z0-9_]*")
_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Seed:
    """``user_data`` are cloud-config: modules' keys with plain values. ``instance`` is the machine's
    identity: under another one, cloud-init takes a disk for a new machine. ``properties`` are what OpenStack
    calls a server's metadata.
    """

    way: Literal["nocloud", "config-drive"] = "nocloud"
    hostname: str = "guest"
    user_data: Mapping[str, Any] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    instance: str = "5a1e9c52-6f0b-4a4e-9d6c-1f6b7d1c0a01"

    def __post_init__(self) -> None:
        """Raises BadInput where a value is none of its kind."""
        if not _HOST.fullmatch(self.hostname):
            raise BadInput(
                f"{self.hostname[:80]!r} is no host's name", hint="one has small letters, digits and -"
            )
        if not _HOST.fullmatch(self.instance):
            raise BadInput(f"{self.instance[:80]!r} is no machine's identity", hint="a UUID is one")
        for key in self.user_data:
            if not _KEY.fullmatch(key):
                raise BadInput(
                    f"{key[:80]!r} is no key of cloud-config", hint="one has small letters, digits and _"
                )


def seed_files(seed: Seed, public_key: str, *, network: bool) -> dict[str, bytes]:
    """The files of a seed, by their paths. ``public_key`` is a line as ssh-keygen writes it; ``network``
    says whether there is a network card.
    """
    # cloud-init warns of cloud-config without a key, and is content with nothing.
    user_data = ("#cloud-config\n" + dump(seed.user_data, "")).encode() if seed.user_data else b""
    if seed.way == "nocloud":
        meta: dict[str, Any] = {"instance-id": seed.instance, "local-hostname": seed.hostname}
        meta["public-keys"] = [public_key]
        if seed.properties:
            meta["meta"] = dict(seed.properties)  # where they are of an OpenStack cloud
        card = {"match": {"macaddress": MAC}, "set-name": "eth0", "dhcp4": True}
        cards = {"version": 2, "ethernets": {"eth0": card} if network else {}}
        return {
            "meta-data": dump(meta, "").encode(),
            "user-data": user_data,
            "network-config": dump(cards, "").encode(),
        }
    about = {
        "uuid": seed.instance,
        "name": seed.hostname,
        "hostname": seed.hostname,
        "public_keys": {"guest": public_key},
        "launch_index": 0,
        "availability_zone": "nova",
        **({"meta": dict(seed.properties)} if seed.properties else {}),
    }
    link = {"id": "tap0", "type": "ovs", "ethernet_mac_address": MAC, "mtu": 1500, "vif_id": "tap0"}
    address = {"id": "network0", "type": "ipv4_dhcp", "link": "tap0", "network_id": "network0"}
    wires = {"links": [link] if network else [], "networks": [address] if network else [], "services": []}
    return {
        "openstack/latest/meta_data.json": json.dumps(about).encode(),
        "openstack/latest/network_data.json": json.dumps(wires).encode(),
        "openstack/latest/user_data": user_data,
    }


def write_seed(seed: Seed, public_key: str, iso: Path, *, network: bool) -> None:
    """Write a seed's disk to ``iso``: the same bytes for the same seed. Raises EngineError where xorriso is
    missing, and BuildFailed where the disk can't be written.
    """
    folder = Path(tempfile.mkdtemp(prefix="seed-", dir=iso.parent))
    try:
        tree = folder / "tree"
        for name, data in seed_files(seed, public_key, network=network).items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes(data)
        for path in (*tree.rglob("*"), tree):
            path.chmod(0o755 if path.is_dir() else 0o644)
            os.utime(path, (_DATE, _DATE))
        # -R -J: names as they are, for Linux and for all others. xorriso's own settings of this user are
        # not read.
        words = [
            program("xorriso"),
            "-no_rc",
            "-as",
            "mkisofs",
            "-quiet",
            "-R",
            "-J",
            "-V",
            _LABELS[seed.way],
        ]
        done = run([*words, "-o", "seed.iso", "tree"], cwd=folder, timeout=_SECONDS, environment=_dates())
        if done.status:
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise BuildFailed(
                f"xorriso can't write the seed's disk: {last}", hint="free some space, then try again"
            )
        (folder / "seed.iso").rename(iso)
    except OSError as error:
        raise disk_error(error, iso) from None
    finally:
        remove_tree(folder)


def _dates() -> dict[str, str]:
    """Xorriso takes all dates of the disk itself, and its identifier, from that."""
    return {"SOURCE_DATE_EPOCH": str(_DATE), "TZ": "UTC"}
