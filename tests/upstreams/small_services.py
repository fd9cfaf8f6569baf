"""What the services of a small cloud have in common, and those that are small: volumes and images."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.upstreams.small_cloud import SmallCloud

Thing = dict[str, Any]
Answer = tuple[int, Any, dict[str, str]]


class Missing(Exception):
    """There is no such thing, or no such address."""


class Service:
    """Answers requests of one service, whose paths begin below its address."""

    def __init__(self, cloud: SmallCloud) -> None:
        self.cloud = cloud
        self.things = cloud.things

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Answer:
        """Status, JSON and headers. Raises Missing."""
        raise Missing

    def one(self, kind: str, id: str) -> Thing:
        try:
            return self.things[kind][id]
        except KeyError:
            raise Missing from None

    def listed(self, kind: str, one: str, id: str, query: dict[str, str]) -> Answer:
        """One of them by its identifier, or all that fit; what was under way is done at the next look."""
        answer: Thing
        if id:
            answer = {one: dict(self.one(kind, id))}
        else:
            several = kind.replace("-", "_")
            answer = {several: [dict(t) for t in self.things[kind].values() if self._fits(kind, t, query)]}
        for thing in self.things[kind].values():
            thing["status"] = {"BUILD": "ACTIVE", "creating": "available"}.get(
                str(thing.get("status")), thing.get("status")
            )
        return 200, answer, {}

    def _fits(self, kind: str, thing: Thing, query: dict[str, str]) -> bool:
        name = query.get("name")
        if kind == "servers" and name is not None and not re.search(name, thing["name"]):
            return False
        if kind != "servers" and name is not None and thing.get("name") != name:
            return False
        if "tags" in query and not set(query["tags"].split(",")) <= set(thing["tags"]):
            return False
        if query.get("router:external", "").lower() in ("true", "false"):
            return bool(thing.get("router:external")) == (query["router:external"].lower() == "true")
        plain = ("direction", "security_group_id", "floating_ip_address", "floating_network_id", "port_id")
        return all(thing.get(key) == query[key] for key in plain if key in query)


class Volumes(Service):
    """As much of Cinder."""

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Answer:
        rest = path.removeprefix("/volumes").strip("/")
        if not path.startswith("/volumes"):
            raise Missing
        if method == "POST" and not rest:
            wanted = body["volume"]
            defaults = {
                "attachments": [],
                "bootable": "false",
                "encrypted": False,
                "multiattach": False,
                "volume_type": "usual",
                "availability_zone": "nova",
                "description": None,
                "created_at": "2026-01-01T00:00:00.000000",
                "links": [],
            }
            made = self.cloud.add(
                "volumes",
                **{**defaults, **{k: v for k, v in wanted.items() if v is not None}},
                status="creating",
            )
            return 202, {"volume": made}, {}
        if method == "DELETE":
            assert self.one("volumes", rest)["status"] == "available"
            del self.things["volumes"][rest]
            return 202, None, {}
        return self.listed("volumes", "volume", rest.removeprefix("detail"), query)


class Images(Service):
    """As much of Glance."""

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Answer:
        if not path.startswith("/images"):
            raise Missing
        rest = path.removeprefix("/images").strip("/")
        if rest:
            return 200, self.one("images", rest), {}
        found = [
            i
            for i in self.things["images"].values()
            if all(str(i.get(k, v)) == v for k, v in query.items() if k in ("name", "status"))
        ]
        if query.get("sort") == "created_at:desc" or query.get("sort_key") == "created_at":
            found = sorted(found, key=lambda image: str(image["created_at"]), reverse=True)
        return 200, {"images": found, "schema": "/v2/schemas/images", "first": "/v2/images"}, {}
