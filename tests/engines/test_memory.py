"""Bounds on memory by themselves: several at once, what is left in them, and what runs in a scope."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from imagefactory.system.cgroups import hierarchies
from imagefactory.system.memory import Systemd, bounded, way
from imagefactory.system.processes import run
from tests.engines.bench import NAP, running, wait_for

MIB = 1 << 20
TAKE = '$n = 200 << 20; $x = "x" x $n; print "done"'

# It runs the command without a scope; the account of its memory is a file of the test's.
SYSTEMD_RUN = """#!/bin/sh
while [ "$1" != -- ]; do shift; done
shift
exec "$@"
"""


def test_several_commands_have_a_bound_each() -> None:
    """Each has its own, and what one takes is not counted for another."""
    found: list[tuple[int, bool, bool]] = []

    def take(bound_to: int) -> None:
        with bounded(bound_to * MIB) as bound:
            done = run([*bound.prefix, "perl", "-e", TAKE])
            found.append((bound_to, done.stdout == "done", bound.exceeded(done.status, done.stderr)))

    threads = [threading.Thread(target=take, args=(each,)) for each in (100, 400) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = [(100, False, True)] * 3 + [(400, True, False)] * 3
    if way().name == "none":
        expected = [(bound_to, True, False) for bound_to, _, _ in expected]
    assert sorted(found) == expected


def test_what_still_runs_in_a_group_ends_with_the_block() -> None:
    if not way().name.startswith("cgroup"):
        pytest.skip("this machine has no groups of ours")
    words = f"{NAP}9"
    with bounded(100 * MIB) as bound:
        run([*bound.prefix, "sh", "-c", f"setsid {words} </dev/null >/dev/null 2>&1 &"])
        wait_for(lambda: running(words))
        group = Path(bound.prefix[3]).parent
        assert group.is_dir()
    assert not running(words)
    assert not group.exists()


@pytest.mark.parametrize(
    ("script", "kills", "status", "exceeded"),
    [
        ("echo fine", 0, 0, False),
        ("echo broken; exit 5", 0, 5, False),
        ("exit 5", 1, 5, True),
        ("kill -9 $$", 1, 137, True),
        ("kill -9 $$", 0, 137, False),
        ("kill -9 $(ps -o ppid= $$)", 0, -9, True),  # the one that would write the account
    ],
)
def test_a_scope_leaves_an_account(
    script: str, kills: int, status: int, exceeded: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd itself is not here: what it starts is."""
    program = tmp_path / "systemd-run"
    program.write_text(SYSTEMD_RUN)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/sbin:/usr/bin:/sbin:/bin")
    own = next((tree.own.relative_to(tree.mount) for tree in hierarchies() if tree.version == 2), Path())
    events = tmp_path / "mount" / own / "memory.events"
    events.parent.mkdir(parents=True)
    events.write_text(f"low 0\noom_kill {kills}\n")
    with Systemd(tmp_path / "mount").bound(100 * MIB, 0) as bound:
        done = run([*bound.prefix, "sh", "-c", script])
        assert (done.status, bound.exceeded(done.status)) == (status, exceeded)
    assert done.stderr == "" or status == 137
