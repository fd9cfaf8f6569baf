"""A small cloud: as much of OpenStack's interfaces as one server takes, in memory, on loopback.

It keeps what is made and answers as the real services do, so that the real clients can be run against it. It
starts nothing, and is no proof of what a real cloud does.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.upstreams.small_compute import Compute
from tests.upstreams.small_identity import PASSWORD, PROJECT, Identity
from tests.upstreams.small_network import Network
from tests.upstreams.small_services import Answer, Images, Missing, Thing, Volumes

_SERVICES = {
    "/v3": Identity,
    "/compute/v2.1": Compute,
    f"/volume/v3/{PROJECT}": Volumes,
    "/network/v2.0": Network,
    "/image/v2": Images,
}


@dataclass
class SmallCloud:
    """What there is, by kind and identifier. ``refused`` are patterns of requests that fail."""

    address: str
    things: dict[str, dict[str, Thing]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    on_request: Callable[[str], None] = lambda request: None
    server_address: str = "127.0.0.1"
    _ticks: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        made = ("servers", "volumes", "keypairs", "security-groups", "security-group-rules", "floatingips")
        for kind in (*made, "images", "flavors", "networks"):
            self.things[kind] = {}
        self.flavor("large", ram=8192, disk=40, vcpus=4)
        self.flavor("small", ram=2048, disk=20, vcpus=1)
        self.flavor("tiny", ram=512, disk=40, vcpus=1)
        self.flavor("diskless", ram=2048, disk=0, vcpus=1)
        self.add("networks", name="mine", **{"router:external": False, "status": "ACTIVE", "shared": False})
        self.add("networks", name="outside", **{"router:external": True, "status": "ACTIVE", "shared": True})

    def add(self, kind: str, **values: Any) -> Thing:
        """Something new, with an identifier."""
        thing = {"id": str(uuid.uuid4()), "project_id": PROJECT, "tenant_id": PROJECT, "tags": [], **values}
        self.things[kind][thing["id"]] = thing
        return thing

    def flavor(self, name: str, ram: int, disk: int, vcpus: int) -> None:
        sizes = {"ram": ram, "disk": disk, "vcpus": vcpus, "swap": 0, "OS-FLV-EXT-DATA:ephemeral": 0}
        access = {"os-flavor-access:is_public": True, "extra_specs": {}, "rxtx_factor": 1.0, "links": []}
        self.add("flavors", name=name, **sizes, **access)

    def image(self, name: str) -> str:
        """A new image, active; its identifier."""
        tick = next(self._ticks)
        dates = dict.fromkeys(("created_at", "updated_at"), f"2026-01-01T00:{tick:02}:00Z")
        shape = {
            "disk_format": "qcow2",
            "container_format": "bare",
            "visibility": "private",
            "size": 1,
            "min_ram": 0,
        }
        made = self.add(
            "images", name=name, status="active", owner=PROJECT, os_hidden=False, **shape, **dates
        )
        return str(made["id"])

    def made(self) -> dict[str, list[str]]:
        """The names of what was made, by kind; kinds of which there is nothing are left out."""
        kinds = ("servers", "volumes", "keypairs", "security-groups", "floatingips")
        names = {kind: sorted(t.get("name", "") for t in self.things[kind].values()) for kind in kinds}
        return {kind: each for kind, each in names.items() if each}

    def only(self, kind: str) -> Thing:
        """The one thing of a kind."""
        (thing,) = self.things[kind].values()
        return thing

    def open_ports(self) -> set[tuple[int, str]]:
        """The ports that are let in, and from where."""
        rules = self.things["security-group-rules"].values()
        return {(r["port_range_min"], r["remote_ip_prefix"]) for r in rules if r["direction"] == "ingress"}

    def clouds_yaml(self, folder: Path) -> Path:
        """A clouds.yaml that knows this cloud as ``small``."""
        auth = {
            "auth_url": f"{self.address}/v3",
            "username": "me",
            "password": PASSWORD,
            "project_id": PROJECT,
        }
        entry = {
            "auth": {**auth, "user_domain_name": "Default"},
            "region_name": "here",
            "identity_api_version": "3",
        }
        file = folder / "clouds.yaml"
        file.write_text(json.dumps({"clouds": {"small": entry}}))
        file.chmod(0o600)
        return file


@contextlib.contextmanager
def small_cloud() -> Iterator[SmallCloud]:
    """Serve one on loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    cloud = SmallCloud(f"http://127.0.0.1:{server.server_port}")
    server.cloud = cloud  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield cloud
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *words: object) -> None:
        pass

    def _do(self) -> None:
        cloud: SmallCloud = self.server.cloud  # type: ignore[attr-defined]
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"{}") if length else {}
        place = urlsplit(self.path)
        request = f"{self.command} {place.path}"
        cloud.requests.append(request)
        cloud.on_request(request)
        if any(re.fullmatch(pattern, request) for pattern in cloud.refused):
            self._answer(409, {"conflictingRequest": {"code": 409, "message": "refused by the test"}})
            return
        query = {key: values[-1] for key, values in parse_qs(place.query).items()}
        try:
            status, answer, headers = _answer(cloud, self.command, place.path.rstrip("/"), query, body)
        except Missing:
            status, answer, headers = 404, {"itemNotFound": {"code": 404, "message": "not found"}}, {}
        self._answer(status, answer, headers)

    def _answer(self, status: int, answer: Any, headers: dict[str, str] | None = None) -> None:
        data = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        for key, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _do  # noqa: N815


def _answer(cloud: SmallCloud, method: str, path: str, query: dict[str, str], body: Any) -> Answer:
    versions = Identity(cloud).versions(path)
    if method == "GET" and versions:
        return 200, versions, {}
    for address, service in _SERVICES.items():
        if path.startswith(f"{address}/"):
            return service(cloud).answer(method, path.removeprefix(address), query, body)
    raise Missing
