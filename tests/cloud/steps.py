"""What is done in the cloud: images there, servers from them, and nothing left."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagefactory.guest import open_disk
from imagefactory.publish.cloud import Cloud as ImageService
from imagefactory.publish.glance import upload
from imagefactory.system.processes import Stop
from imagefactory.targets.vm.hygiene import CHECKS
from tests.cloud.cloud import ADMIN, GATEWAY, NETWORK, USER, Cloud, Say
from tests.cloud.kits import Kit
from tests.cloud.packing import Packer
from tests.cloud.server import Server, make_key
from tests.cloud.services import Broken
from tests.cloud.tried import Tried

FLAVOR = "medium"
GROUP = "packer"
TAG = "managed_by_imagefactory"
"""What the template gives to images that are whole."""
INTERRUPTS = {
    "while its server starts": "Waiting for server",
    "while it sends the payload": "Uploading .*payload",
    "while the cloud makes the image": "Creating the image",
}
"""When Packer is interrupted, and what it says then."""


@dataclass
class Trial:
    """One run. ``folder`` is for its files; ``programs`` has the folders of the tools' programs."""

    cloud: Cloud
    tried: Tried
    folder: Path
    programs: dict[str, Path]
    say: Say
    numbers: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Say how long something took, once it is done."""
        began = time.monotonic()
        yield
        self.numbers[what] = round(time.monotonic() - began, 1)
        self.say(f"{what} ({self.numbers[what]:.0f} s)")

    def note(self, what: str, number: float) -> None:
        self.numbers[what] = round(number, 1)
        self.say(f"  {what}: {number:.0f}")

    def nothing_left(self) -> None:
        """Raises Broken where the member's project has anything but images."""
        until = time.monotonic() + 60  # ports go a moment after their servers
        while left := self.cloud.left():
            if time.monotonic() > until:
                raise Broken(f"left in the cloud: {', '.join(left)}")
            time.sleep(1)


def upload_images(trial: Trial) -> str:
    """Both disks, for everybody, by an administrator; the UUID of the project image."""
    os.environ["OS_CLIENT_CONFIG_FILE"] = str(trial.cloud.identity.clouds)
    tried, glance = trial.tried, ImageService(ADMIN)
    with trial.step(f"upload {tried.base_name}"):
        properties, tags = tried.about_base()
        upload(glance, tried.base, "qcow2", tried.base_name, properties, tags, "public")
    with trial.step(f"upload {tried.name}"):
        properties, tags = tried.about()
        done = upload(glance, tried.disk, "qcow2", tried.name, properties, tags, "public")
    trial.note("its bytes", done.bytes)
    return done.id


def try_packer(trial: Trial) -> str:
    """A build by Packer's openstack source as the member, and nothing else left; the image's UUID."""
    user: Any = trial.cloud.connect()
    group = user.network.create_security_group(name=GROUP)
    user.network.create_security_group_rule(
        security_group_id=group.id,
        direction="ingress",
        protocol="tcp",
        port_range_min=22,
        port_range_max=22,
        remote_ip_prefix=f"{GATEWAY}/32",
    )
    with trial.step("build with Packer's openstack source"):
        _packer(trial, "whole").run()
    user.network.delete_security_group(group.id)
    trial.nothing_left()
    (image,) = _own_images(trial)
    trial.note("its bytes", image.size)
    if TAG not in image.tags:
        raise Broken(f"the image has the tags {image.tags}")
    facts = {name: image.properties.get(name) for name in ("imagefactory_recipe", "imagefactory_version")}
    if facts != {
        "imagefactory_recipe": trial.tried.name,
        "imagefactory_version": trial.tried.report("vm")["version"],
    }:
        raise Broken(f"the image says of itself: {facts}")
    with trial.step("its disk, read without booting"):
        _check_disk(trial, trial.cloud.identity.folder / "images" / image.id)
    return str(image.id)


def _check_disk(trial: Trial, disk: Path) -> None:
    scratch = trial.folder / "disk"
    scratch.mkdir()
    with open_disk(disk, scratch, Stop()) as reader:
        found = {name: said for name, check in CHECKS.items() if (said := check(reader))}
    if found:
        raise Broken(f"on the disk that Packer made: {found}")


def interrupt_packer(trial: Trial) -> None:
    """Interrupted at several moments, it leaves nothing."""
    before = [image.id for image in _own_images(trial)]
    user: Any = trial.cloud.connect()
    group = user.network.create_security_group(name=GROUP)
    user.network.create_security_group_rule(
        security_group_id=group.id, direction="ingress", protocol="tcp", port_range_min=22, port_range_max=22
    )
    for number, (moment, pattern) in enumerate(INTERRUPTS.items()):
        packer = _packer(trial, f"interrupted-{number}")
        with trial.step(f"Packer is interrupted {moment}"):
            if packer.interrupt_at(pattern) == 0:
                raise Broken(f"Packer ends as if nothing had been: {packer.said()[-500:]}")
        left = [each for each in trial.cloud.left() if each != f"security group {GROUP}"]
        if left:
            raise Broken(f"an interrupted Packer left {', '.join(left)}")
        for image in _own_images(trial):
            if image.id not in before:
                trial.say(f"  an image is left, which is {image.status}")
                if TAG in image.tags:
                    raise Broken("and it looks like a whole one")
                user.image.delete_image(image.id)
    user.network.delete_security_group(group.id)


def _own_images(trial: Trial) -> list[Any]:
    user: Any = trial.cloud.connect()
    return list(user.image.images(owner=user.current_project_id))


def _packer(trial: Trial, name: str) -> Packer:
    user: Any = trial.cloud.connect()
    scratch = trial.folder / f"packer-{name}"
    scratch.mkdir()
    variables = {
        "base": trial.tried.base_name,
        "cloud": USER,
        "flavor": FLAVOR,
        "network": user.network.find_network(NETWORK).id,
        "security_group": GROUP,
    }
    return Packer(trial.tried, variables, trial.cloud.identity.clouds, scratch)


def try_script(trial: Trial, image: str) -> None:
    """The kit for the program openstack, with the newest image of the name, which is ``image``."""
    key = make_key(_folder(trial, "openstack-key"))
    clouds = trial.cloud.identity.clouds
    kit = Kit(
        *(trial.tried, "openstack", trial.folder / "openstack", trial.programs["openstack"], clouds),
        *("--cloud", USER, "--from", f"{GATEWAY}/32"),
    )
    settings = {"PUBLIC_KEY": f"{key}.pub", "FORMAT_IF_EMPTY": "yes", "VOLUME_SIZE": "1"}
    with trial.step("server.sh up"):
        kit.script("up", **settings)
    _try_server(trial, key, image)
    with trial.step("server.sh down --with-data"):
        kit.script("down", "--with-data")
    trial.nothing_left()


def try_playbooks(trial: Trial, image: str) -> None:
    """The kit for Ansible, with an image by its UUID."""
    key = make_key(_folder(trial, "ansible-key"))
    clouds = trial.cloud.identity.clouds
    kit = Kit(
        *(trial.tried, "ansible", trial.folder / "ansible", trial.programs["ansible"], clouds),
        *("--cloud", USER, "--from", f"{GATEWAY}/32", "--image", image),
    )
    settings = {"public_key": f"{key}.pub", "format_if_empty": "yes", "volume_size": "1"}
    with trial.step("ansible-playbook up.yml"):
        kit.play("up", **settings)
    _try_server(trial, key, image)
    with trial.step("ansible-playbook down.yml"):
        kit.play("down", with_data="true")
    trial.nothing_left()


def _folder(trial: Trial, name: str) -> Path:
    folder = trial.folder / name
    folder.mkdir()
    return folder


def _try_server(trial: Trial, key: Path, image: str) -> None:
    """A server that a kit has started: its tests, and its data volume."""
    server = Server(trial.cloud.connect(), trial.tried.name, key)
    if server.image != image:
        raise Broken(f"the server is of the image {server.image}, and not of {image}")
    with trial.step("log in"):
        server.await_login()
        said = json.loads(server.run("cloud-init status --wait --format json", status=None))
    if said.get("status") != "done" or said.get("errors"):
        raise Broken(f"cloud-init ends with {said.get('status')}: {said.get('errors')}")
    if failed := server.run("systemctl list-units --failed --plain --no-legend").strip():
        raise Broken(f"units that failed: {failed}")
    with trial.step("its own tests, in Docker and in Apptainer"):
        told = server.run("imagefactory-selftest").strip().splitlines()
    trial.say(f"  {told[-1]}")
    with trial.step("its data volume"):
        _try_volume(server)


def _try_volume(server: Server) -> None:
    for _ in range(60):
        where = server.run("findmnt --noheadings --output SOURCE,FSTYPE,OPTIONS /data", status=None).split()
        if where:
            break
        time.sleep(5)
    else:
        told = server.run("lsblk; sudo journalctl -u 'data-volume*'")
        raise Broken(f"no data volume is mounted: {told}")
    server.run('echo mine >/data/file && test "$(cat /data/file)" = mine')
    if where[1] != "ext4" or not where[0].startswith("/dev/"):
        raise Broken(f"the data volume is {where}")
