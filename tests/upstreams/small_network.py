"""Networks, security groups and addresses of a small cloud, as Neutron has them."""

from __future__ import annotations

from typing import Any

from tests.upstreams.small_services import Answer, Missing, Service, Thing


class Network(Service):
    """As much of Neutron."""

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Answer:
        kind, _, rest = path.strip("/").partition("/")
        if kind == "ports":
            return self._ports(query, rest)
        if kind not in ("networks", "security-groups", "security-group-rules", "floatingips"):
            raise Missing
        one = kind.removesuffix("s").replace("-", "_")
        if method == "POST":
            several = kind.replace("-", "_")
            if several in body:
                return 201, {several: [self._made(kind, each) for each in body[several]]}, {}
            return 201, {one: self._made(kind, body[one])}, {}
        id, _, part = rest.partition("/")
        if method == "PUT" and part == "tags":
            self.one(kind, id)["tags"] = body["tags"]
            return 200, body, {}
        if method == "PUT":
            self.one(kind, id).update(body[one])
            return self.listed(kind, one, id, query)
        if method == "DELETE":
            return self._deleted(kind, id)
        status, answer, headers = self.listed(kind, one, rest, query)
        for group in [answer[one]] if one in answer else answer[kind.replace("-", "_")]:
            if kind == "security-groups":
                group["security_group_rules"] = self._rules(group["id"])
        return status, answer, headers

    def _rules(self, group: str) -> list[Thing]:
        return [r for r in self.things["security-group-rules"].values() if r["security_group_id"] == group]

    def _deleted(self, kind: str, id: str) -> Answer:
        thing = self.one(kind, id)
        if kind == "security-groups":
            used = [g["name"] for s in self.things["servers"].values() for g in s["security_groups"]]
            if thing["id"] in used or thing["name"] in used:
                return 409, {"NeutronError": {"type": "InUse", "message": "in use", "detail": ""}}, {}
            for rule in self._rules(id):
                del self.things["security-group-rules"][rule["id"]]
        del self.things[kind][id]
        return 204, None, {}

    def _made(self, kind: str, wanted: Thing) -> Thing:
        if kind == "security-groups":
            group = self.cloud.add(
                kind,
                name=wanted["name"],
                description=wanted.get("description", ""),
                stateful=True,
                shared=False,
            )
            for family in ("IPv4", "IPv6"):
                self._made(
                    "security-group-rules",
                    {"security_group_id": group["id"], "direction": "egress", "ethertype": family},
                )
            return {**group, "security_group_rules": self._rules(group["id"])}
        if kind == "security-group-rules":
            usual = dict.fromkeys(
                (
                    "port_range_min",
                    "port_range_max",
                    "protocol",
                    "remote_ip_prefix",
                    "remote_group_id",
                    "remote_address_group_id",
                )
            )
            return self.cloud.add(kind, **{**usual, "description": "", "ethertype": "IPv4", **wanted})
        assert kind == "floatingips"
        port = wanted.get("port_id")
        usual = {
            "floating_ip_address": "127.0.0.2",
            "fixed_ip_address": None,
            "port_id": None,
            "router_id": None,
            "status": "DOWN",
            "server": "",
            "description": "",
        }
        made = self.cloud.add(kind, **{**usual, **wanted, "port_id": None, "server": ""})
        if port:
            made["port_id"] = port
        return made

    def _ports(self, query: dict[str, str], rest: str) -> Answer:
        ports = [
            {
                "id": f"port-{server['id']}",
                "device_id": server["id"],
                "network_id": network["id"],
                "fixed_ips": [
                    {"ip_address": server["addresses"][network["name"]][0]["addr"], "subnet_id": "subnet"}
                ],
                "status": "ACTIVE",
                "project_id": server["project_id"],
                "device_owner": "compute:nova",
            }
            for server in self.things["servers"].values()
            for network in self.things["networks"].values()
            if network["name"] in server["addresses"]
        ]
        if rest:
            return 200, {"port": next(port for port in ports if port["id"] == rest)}, {}
        return (
            200,
            {"ports": [p for p in ports if query.get("device_id", p["device_id"]) == p["device_id"]]},
            {},
        )
