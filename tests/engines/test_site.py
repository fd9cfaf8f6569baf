"""Site settings: they serve every download, and none of them is in an image, a log or a lock."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import trustme

from imagefactory.inputs.debian import archives, default_sources
from imagefactory.inputs.index import client_default
from imagefactory.model.recipe import Release
from tests.engines.bench import Bench
from tests.upstreams.index import make_index, make_sdist, make_wheel
from tests.upstreams.server import Proxy, Upstream

USER, PASSWORD = "institute-user", "s3cret-W0rd-of-ours"
PACKAGE = "zz-imagefactory-probe"
INDEX = "https://index.example.org/simple"
RUN = [{"name": "runs", "command": ["zz-probe"], "output": ["^the probe runs, and so does its helper$"]}]


def make_packages(folder: Path) -> None:
    """A wheel with a command, and a source distribution that it needs."""
    helper = make_sdist(
        f"{PACKAGE}-helper", "2.0", {"zz_helper.py": "WORDS = 'and so does its helper'\n"}, ("packaging",)
    )
    code = "import zz_helper\n\n\ndef main():\n    print('the probe runs,', zz_helper.WORDS)\n"
    probe = make_wheel(
        PACKAGE, "1.5", {"zz_probe.py": code}, [f"{PACKAGE}-helper"], ["zz-probe = zz_probe:main"]
    )
    make_index(folder, [helper, probe])


def unreachable_elsewhere() -> str:
    """The hosts of the registries that this machine's clients know, for no_proxy."""
    known = [*archives(default_sources(Release("debian", "bookworm"))).values(), client_default()]
    return ",".join(sorted({urllib.parse.urlsplit(url).hostname or "" for url in known}))


def contents(image: str) -> Iterator[tuple[str, bytes]]:
    """Everything that an image consists of: configuration, manifests, and every file of every layer."""
    saved = subprocess.run(["docker", "save", image], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(saved)) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            data = content.read() if content else b""
            yield member.name, gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def test_they_serve_and_leave_no_trace(bench: Bench, tmp_path: Path) -> None:
    authority = trustme.CA()
    system = os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
    certificates = tmp_path / "ours.pem"
    certificates.write_bytes(Path(system).read_bytes() + authority.cert_pem.bytes())
    make_packages(tmp_path / "index" / "simple")
    archive = b"an archive behind the proxy\n"
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "data-1.0.txt").write_bytes(archive)
    with (
        Upstream(tmp_path / "index", tls=authority) as index,
        Upstream(tmp_path / "files") as files,
        Proxy({"files.test": files}, USER, PASSWORD) as proxy,
    ):
        index.require("/", USER, PASSWORD)
        mirror = index.url.replace("://", f"://{USER}:{PASSWORD}@") + "/simple"
        site = {
            "proxies": {"http": proxy.url, "no": unreachable_elsewhere()},
            "ca_bundle": str(certificates),
            "mirrors": {INDEX: mirror},
            "store": str(tmp_path / "store"),
        }
        (bench.root / "site.yaml").write_text(json.dumps(site))
        bench.environment = {"IMAGEFACTORY_STORE": None}
        image = bench.recipe(
            "site",
            "cp /sources/data/data-1.0.txt /usr/share/data",
            inputs={
                "apt": ["hello"],
                "pip": {
                    "packages": [PACKAGE],
                    "indexes": {"ours": {"url": INDEX, "packages": [PACKAGE, f"{PACKAGE}-helper"]}},
                },
                "sources": {
                    "data": {
                        "url": "http://files.test/data-1.0.txt",
                        "sha256": hashlib.sha256(archive).hexdigest(),
                    }
                },
            },
            commands=["hello", "zz-probe"],
            tests=RUN,
        )
        ended = bench.run("build", image, "--verbose", timeout=300)
    assert any("/zz-imagefactory-probe-helper/" in asked for asked in index.requests)
    assert "GET http://files.test/data-1.0.txt" in proxy.requests
    # A port alone would be found by chance among the digits of a base image.
    hosts = [urllib.parse.urlsplit(index.url).netloc, proxy.url.rpartition("@")[2]]
    traces = [PASSWORD, USER, *hosts, str(certificates)]
    traces += [authority.cert_pem.bytes().decode().splitlines()[5]]
    places = [(f"imagefactory/{image}", *found) for found in contents(f"imagefactory/{image}")]
    texts = [
        *bench.build.glob(f"{image}/*.*"),
        *bench.build.glob(f"{image}/*/*.*"),
        *(bench.build / image / "context").rglob("*"),
    ]
    texts += [bench.folder(image) / "lock.yaml", bench.root / "base_images" / "debian-12.lock.yaml"]
    places += [("file", str(path), path.read_bytes()) for path in texts if path.is_file()]
    places += [("screen", "all", ended.text.encode())]
    found = [(where, name, t) for where, name, data in places for t in traces if t.encode() in data]
    assert found == []
    assert {"build.log", "lock.log", "fetch.log", "report.json"} <= {path.name for path in texts}
    assert bench.report(image)["status"] == "passed"


def test_a_refused_password_is_not_shown(bench: Bench, tmp_path: Path) -> None:
    make_packages(tmp_path / "index" / "simple")
    with Upstream(tmp_path / "index") as index:
        index.require("/", USER, "another")
        mirror = index.url.replace("://", f"://{USER}:{PASSWORD}@") + "/simple"
        (bench.root / "site.yaml").write_text(json.dumps({"mirrors": {INDEX: mirror}}))
        pip = {"packages": [PACKAGE], "indexes": {"ours": {"url": INDEX, "packages": [PACKAGE]}}}
        image = bench.recipe("refused", inputs={"pip": pip})
        ended = bench.run("lock", image, status=1)
    assert "401" in ended.err
    for text in (ended.text, (bench.build / image / "lock.log").read_text()):
        assert PASSWORD not in text


def test_a_mistake_in_the_file_is_one_line(bench: Bench) -> None:
    (bench.root / "site.yaml").write_text("proxy: {}\nmirrors: {example.org: https://x.example.org}\n")
    ended = bench.run("lock", status=2)
    assert "site.yaml:1:1: unknown key 'proxy', did you mean 'proxies'?" in ended.err
    assert "site.yaml:2:11: mirrors.example.org: expected an address that begins with http://" in ended.err
