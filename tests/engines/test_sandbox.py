"""The sandbox itself: what is in reach there, how much it may take, and where its relay leads."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from tempfile import TemporaryFile

import pytest

from imagefactory.errors import BuildFailed
from imagefactory.sandbox import MANY, Errand, Limits, Relay, route_to, run_errand
from imagefactory.system.processes import Stop
from imagefactory.system.site import Site
from imagefactory.system.web import Web
from tests.engines.bench import processes
from tests.engines.probe import OUTSIDER, Canaries, assert_silent
from tests.upstreams.server import Upstream


@pytest.mark.parametrize("ids", [0, 1, MANY])
def test_a_sandbox_has_nothing_in_reach(tmp_path: Path, cage: Canaries, ids: int) -> None:
    said: list[str] = []
    more = "ls /home /run /var; touch /in/x /usr/x /etc/x /x; env; ls -A $HOME; cat /proc/1/environ"
    more += "; unshare --user true && echo 'one more namespace'"
    if platform.machine() == "x86_64":  # whose number it is that asks for a user's keys
        more += "; perl -e 'exit(syscall(250, 0, -4, 1) >= 0)' || echo 'keys of the kernel'"
    errand = Errand("it", f"(\n{cage.script}\n)\n({more}) 2>&1 || :", ids=ids)
    assert run_errand(errand, said.append, Stop(), tmp_path) == 0
    text = "\n".join(said)
    assert assert_silent(text) == (OUTSIDER if os.getuid() == 0 else os.getuid())
    assert text.count("Read-only file system") == 4
    for place in ("/home", "/run", "/var"):
        assert f"ls: cannot access '{place}'" in text
    assert str(tmp_path) not in text
    assert "one more namespace" not in text
    assert "keys of the kernel" not in text
    assert "DOCKER" not in text
    assert "ZZ_" not in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["canaries"]


def test_a_sandbox_is_bounded(tmp_path: Path) -> None:
    limits = Limits(seconds=2, disk=32 << 20, file=32 << 20)
    # It does not mind signals, and leaves others behind.
    script = "trap '' TERM INT; (trap '' TERM; sleep 7777.5) & while :; do sleep 1; done"
    with pytest.raises(BuildFailed, match=r"it: took longer than 0\.03\d* minutes, and was ended"):
        run_errand(Errand("it", script, limits=limits), print, Stop(), tmp_path)
    assert not [line for _, line in processes() if "sleep 7777.5" in line]
    said: list[str] = []
    script = "for n in 1 2 3 4 5 6 7 8; do head -c 20M /dev/zero >$n; done"
    assert run_errand(Errand("it", script, limits=limits), said.append, Stop(), tmp_path) != 0
    assert "No space left on device" in "\n".join(said)
    script = "perl -e 'for (1 .. 30) { $_[$_] = q(x) x 20_000_000 }; print qq(there was room\\n)'"
    small = Limits(memory=200 << 20, disk=32 << 20)
    with pytest.raises(BuildFailed, match="it: needed more memory than its limit of 200 MiB"):
        run_errand(Errand("it", script, limits=small), said.append, Stop(), tmp_path)
    with TemporaryFile() as answer:
        errand = Errand("it", "head -c 100M /dev/zero >&3 || :", limits=limits)
        run_errand(errand, said.append, Stop(), tmp_path, answer)
        assert answer.seek(0, 2) <= 32 << 20
    assert not list(tmp_path.iterdir())


def test_a_relay_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "up" / "dists").mkdir(parents=True)
    (tmp_path / "up" / "dists" / "Release").write_text("it is here\n")
    (tmp_path / "secret").write_text("it must not be read\n")
    (tmp_path / "up" / "link").symlink_to(tmp_path / "secret")
    stop, relay, said = Stop(), Relay(), list[str]()
    (tmp_path / "scratch").mkdir()
    with Upstream(tmp_path / "up") as up, Upstream(tmp_path / "up") as other:
        up.redirect("/away", f"{other.url}/dists/Release")
        up.redirect("/file", (tmp_path / "secret").as_uri())
        web = Web(Site(), stop)
        relay.add(route_to(f"{up.url}/dists", web, "it"))
        relay.add(route_to((tmp_path / "up").as_uri(), web, "it"))
        relay.add(route_to(up.url, web, "it"))
        paths = ["0/Release", "1/dists/Release"]
        closed = [
            "0/../secret",
            "0/%2e%2e/dists/Release",
            "0/..%2fsecret",
            "1/link",
            "1/../secret",
            "1/dists",
        ]
        closed += ["2/away", "2/file", "3/x", "", "http://127.0.0.1/", "0/%0a"]
        ask = "curl -s --path-as-is -o /dev/null -w '%{http_code} ' 'http://127.0.0.1:8000/"
        script = "\n".join(f"{ask}{path}'" for path in [*paths, *closed])
        script += f"\ncurl -s -m 2 -o /dev/null -w '%{{http_code}}' {up.url}/dists/Release || :"
        assert run_errand(Errand("it", script, relay=relay), said.append, stop, tmp_path / "scratch") == 0
        assert other.requests == []
    good, bad = said[0].split()[:2], said[0].split()[2:]
    assert good == ["200", "200"]
    assert set(bad) <= {"403", "404", "502", "000"}
    assert len(bad) == len(closed) + 1
