"""Who may use a small cloud, as Keystone says it, and what versions its services have."""

from __future__ import annotations

from typing import Any

from tests.upstreams.small_services import Answer, Missing, Service, Thing

PROJECT = "0123456789abcdef0123456789abcdef"
PASSWORD = "a password that belongs in no file but clouds.yaml"


class Identity(Service):
    """As much of Keystone."""

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Answer:
        if (method, path) != ("POST", "/auth/tokens"):
            raise Missing
        given = body["auth"]["identity"]["password"]["user"]["password"]
        if given != PASSWORD:
            return 401, {"error": {"code": 401, "message": "wrong password", "title": "Unauthorized"}}, {}
        services = {
            "identity": "/v3",
            "compute": "/compute/v2.1",
            "block-storage": f"/volume/v3/{PROJECT}",
            "network": "/network",
            "image": "/image",
        }
        catalog = [
            {
                "type": kind,
                "name": kind,
                "id": kind,
                "endpoints": [
                    {
                        "id": kind,
                        "interface": "public",
                        "region": "here",
                        "region_id": "here",
                        "url": self.cloud.address + at,
                    }
                ],
            }
            for kind, at in services.items()
        ]
        domain = {"id": "default", "name": "Default"}
        token = {
            "methods": ["password"],
            "user": {"id": "me", "name": "me", "domain": domain},
            "project": {"id": PROJECT, "name": "mine", "domain": domain},
            "roles": [{"id": "member", "name": "member"}],
            "expires_at": "2099-01-01T00:00:00.000000Z",
            "issued_at": "2026-01-01T00:00:00.000000Z",
            "catalog": catalog,
        }
        return 201, {"token": token}, {"X-Subject-Token": "token"}

    def versions(self, path: str) -> Any:
        """What clients ask first, of any service; None for other paths."""
        at = self.cloud.address

        def version(id: str, href: str, newest: str = "", oldest: str = "") -> Thing:
            links = [{"rel": "self", "href": f"{at}{href}"}]
            return {"id": id, "status": "CURRENT", "version": newest, "min_version": oldest, "links": links}

        return {
            "": {"versions": {"values": [version("v3.14", "/v3/")]}},
            "/v3": {"version": {**version("v3.14", "/v3/"), "status": "stable"}},
            "/compute/v2.1": {"version": version("v2.1", "/compute/v2.1/", "2.95", "2.1")},
            "/volume/v3": {"versions": [version("v3.0", "/volume/v3/", "3.70", "3.0")]},
            "/network": {"versions": [version("v2.0", "/network/v2.0/")]},
            "/network/v2.0": {"resources": []},
            "/image": {"versions": [version("v2.15", "/image/v2/")]},
        }.get(path)
