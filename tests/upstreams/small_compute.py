"""Servers, flavors and key pairs of a small cloud, as Nova has them."""

from __future__ import annotations

import base64
from typing import Any

from tests.upstreams.small_services import Answer, Missing, Service, Thing


class Compute(Service):
    """As much of Nova."""

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Answer:
        kind, _, rest = path.strip("/").partition("/")
        if kind == "flavors":
            return self.listed("flavors", "flavor", rest.removeprefix("detail"), query)
        if kind == "os-keypairs":
            return self._keypairs(method, rest, body)
        if kind == "os-availability-zone":
            return 200, {"availabilityZoneInfo": []}, {}
        if kind != "servers":
            raise Missing
        id, _, part = rest.partition("/")
        if part == "os-volume_attachments":
            return self._attach(method, id, body)
        if part == "os-security-groups":
            return 200, {"security_groups": []}, {}
        if method == "POST" and not rest:
            return 202, {"server": self._start(body["server"])}, {}
        if method == "DELETE":
            self._stop(id)
            return 204, None, {}
        return self.listed("servers", "server", rest.removeprefix("detail"), query)

    def _start(self, wanted: Thing) -> Thing:
        flavor = self.things["flavors"].get(wanted["flavorRef"].rpartition("/")[2])
        image = self.things["images"].get(wanted["imageRef"].rpartition("/")[2])
        assert flavor, wanted
        assert image, wanted
        (network,) = [self.things["networks"][each["uuid"]] for each in wanted["networks"]]
        assert wanted["key_name"] in {each["name"] for each in self.things["keypairs"].values()}
        groups = self.things["security-groups"].values()
        for each in wanted["security_groups"]:
            assert any(each["name"] in (group["id"], group["name"]) for group in groups), wanted
        address = {
            "addr": self.cloud.server_address,
            "version": 4,
            "OS-EXT-IPS:type": "fixed",
            "OS-EXT-IPS-MAC:mac_addr": "fa:16:3e:00:00:01",
        }
        server = self.cloud.add(
            "servers",
            name=wanted["name"],
            status="BUILD",
            image={"id": image["id"], "links": []},
            flavor={
                "original_name": flavor["name"],
                "ram": flavor["ram"],
                "vcpus": flavor["vcpus"],
                "disk": flavor["disk"],
                "swap": 0,
                "ephemeral": 0,
                "extra_specs": {},
            },
            metadata=wanted.get("metadata", {}),
            key_name=wanted["key_name"],
            addresses={network["name"]: [address]},
            user_data=base64.b64decode(wanted.get("user_data", "")).decode(),
            security_groups=[{"name": each["name"]} for each in wanted["security_groups"]],
            links=[],
            **{
                "os-extended-volumes:volumes_attached": [],
                "OS-EXT-STS:power_state": 1,
                "OS-EXT-STS:task_state": None,
            },
        )
        return {key: server[key] for key in ("id", "name", "links", "security_groups")}

    def _stop(self, id: str) -> None:
        self.one("servers", id)
        del self.things["servers"][id]
        for volume in self.things["volumes"].values():
            if any(each["server_id"] == id for each in volume["attachments"]):
                volume.update(status="available", attachments=[])
        for address in self.things["floatingips"].values():
            if address["server"] == id:
                address.update(server="", port_id=None, status="DOWN")

    def _attach(self, method: str, id: str, body: Any) -> Answer:
        server = self.one("servers", id)
        if method == "GET":
            attached = server["os-extended-volumes:volumes_attached"]
            return (
                200,
                {
                    "volumeAttachments": [
                        {"id": a["id"], "volumeId": a["id"], "serverId": id, "device": "/dev/vdb"}
                        for a in attached
                    ]
                },
                {},
            )
        volume = self.one("volumes", body["volumeAttachment"]["volumeId"])
        assert volume["status"] == "available"
        attachment = {
            "id": volume["id"],
            "volume_id": volume["id"],
            "server_id": id,
            "device": "/dev/vdb",
            "attachment_id": volume["id"],
        }
        volume.update(status="in-use", attachments=[attachment])
        server["os-extended-volumes:volumes_attached"].append(
            {"id": volume["id"], "delete_on_termination": False}
        )
        return (
            200,
            {
                "volumeAttachment": {
                    "id": volume["id"],
                    "volumeId": volume["id"],
                    "serverId": id,
                    "device": "/dev/vdb",
                }
            },
            {},
        )

    def _keypairs(self, method: str, name: str, body: Any) -> Answer:
        keys = self.things["keypairs"]
        if method == "POST":
            wanted = body["keypair"]
            made = self.cloud.add(
                "keypairs",
                name=wanted["name"],
                public_key=wanted["public_key"],
                fingerprint="aa:bb",
                type="ssh",
                user_id="me",
            )
            return 201, {"keypair": made}, {}
        if not name:
            return 200, {"keypairs": [{"keypair": key} for key in keys.values()]}, {}
        found = [key for key in keys.values() if key["name"] == name]
        if not found:
            raise Missing
        if method == "DELETE":
            del keys[found[0]["id"]]
            return 202, None, {}
        return 200, {"keypair": found[0]}, {}
