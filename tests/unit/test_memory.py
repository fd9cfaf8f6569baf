"""Ways of bounding memory: which there are on a machine, the words for each, and whose groups are whose."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagefactory.errors import BadInput, EngineError
from imagefactory.system import memory
from imagefactory.system.cgroups import Group, Hierarchy, abandoned, bounded_group, hierarchies, own_name
from imagefactory.system.memory import VARIABLE, Bound, ControlGroup, Nothing, Prlimit, Systemd, way, ways
from imagefactory.system.processes import Finished
from imagefactory.testing.subject import MIB


def proc(folder: Path, group: str, mounts: str) -> Path:
    """What the kernel says of the groups of a process; ``mounts`` has the folder's name as {here}."""
    (folder / "self").mkdir()
    (folder / "self" / "cgroup").write_text(group)
    (folder / "self" / "mountinfo").write_text(mounts.format(here=folder))
    return folder / "self"


ROOT = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
V1 = "31 25 0:27 / {here}/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n"
V1_CPU = "32 25 0:28 / {here}/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
V2 = "33 25 0:29 / {here}/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n"


@pytest.fixture
def tree(tmp_path: Path) -> Callable[[str], Hierarchy]:
    """Makes a tree of version 2, as a user's session has it: we are in the group of that name."""

    def make(own: str) -> Hierarchy:
        mount = tmp_path / "unified"
        folder = mount / own
        folder.mkdir(parents=True)
        for each in (folder, *folder.parents):
            if each.is_relative_to(mount):
                (each / "cgroup.controllers").write_text("cpu memory pids\n")
                (each / "cgroup.subtree_control").write_text("" if each == folder else "memory pids\n")
        return Hierarchy(2, mount, folder)

    return make


def test_each_version_is_found_where_it_is_mounted(tmp_path: Path) -> None:
    found = hierarchies(
        proc(tmp_path, "4:memory:/a/b\n2:cpu,cpuacct:/\n0::/user/c\n", ROOT + V1_CPU + V1 + V2)
    )
    assert found == [
        Hierarchy(2, tmp_path / "unified", tmp_path / "unified" / "user" / "c"),
        Hierarchy(1, tmp_path / "memory", tmp_path / "memory" / "a" / "b"),
    ]


def test_a_container_sees_its_own_part_of_a_tree(tmp_path: Path) -> None:
    mount = "31 25 0:27 /docker/abc {here}/memory ro - cgroup cgroup rw,memory\n"
    (found,) = hierarchies(proc(tmp_path, "4:memory:/docker/abc\n", mount))
    assert found.own == tmp_path / "memory"


@pytest.mark.parametrize(
    ("group", "mounts"),
    [
        ("", ROOT),
        ("4:memory:/\n", ROOT + V1_CPU),
        ("2:cpu:/\n", V1),
        ("4:memory:/elsewhere\n", "31 25 0:27 /docker/abc {here}/m rw - cgroup cgroup rw,memory\n"),
    ],
)
def test_where_there_is_none_none_is_found(tmp_path: Path, group: str, mounts: str) -> None:
    assert hierarchies(proc(tmp_path, group, mounts)) == []
    assert hierarchies(tmp_path / "not-there") == []


def test_version_2_bounds_beside_us_what_it_cannot_below_us(
    tree: Callable[[str], Hierarchy], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = tree("user/app/ours")
    write = Path.write_text

    def busy(path: Path, text: str) -> int:
        if path == found.own / "cgroup.subtree_control":
            raise OSError(16, "Device or resource busy")  # it has processes: us
        return write(path, text)

    monkeypatch.setattr(Path, "write_text", busy)
    assert list(found.parents()) == [found.own.parent]


def test_at_the_top_of_a_tree_groups_are_made_below_us(tree: Callable[[str], Hierarchy]) -> None:
    found = tree("")
    assert list(found.parents()) == [found.own]
    assert (found.own / "cgroup.subtree_control").read_text() == "+memory"


def test_beside_us_nothing_is_changed(tree: Callable[[str], Hierarchy]) -> None:
    found = tree("user/ours")
    (found.own / "cgroup.controllers").write_text("cpu\n")
    (found.own.parent / "cgroup.subtree_control").write_text("cpu\n")
    assert list(found.parents()) == []
    assert (found.own.parent / "cgroup.subtree_control").read_text() == "cpu\n"


@pytest.mark.parametrize(
    ("version", "files", "expected"),
    [
        (
            1,
            ("memory.memsw.limit_in_bytes",),
            {"memory.limit_in_bytes": "1048576", "memory.memsw.limit_in_bytes": "1048576"},
        ),
        (1, (), {"memory.limit_in_bytes": "1048576"}),
        (
            2,
            ("memory.swap.max", "pids.max"),
            {"memory.max": "1048576", "memory.swap.max": "0", "pids.max": "2048"},
        ),
    ],
)
def test_a_group_is_bounded(
    tmp_path: Path, version: int, files: tuple[str, ...], expected: dict[str, str]
) -> None:
    for name in files:
        (tmp_path / name).write_text("max")
    Group(tmp_path, version).limit(MIB)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == expected


def test_a_group_says_what_was_killed_in_it(tmp_path: Path) -> None:
    (tmp_path / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 7\noom 3\noom_kill 3\noom_group_kill 0\n")
    assert Group(tmp_path, 1).kills() == 2
    assert Group(tmp_path, 2).kills() == 3


def test_a_group_goes_with_its_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Group, "limit", lambda group, memory: None)
    with bounded_group(tmp_path, 2, MIB) as group:
        assert group.folder.parent == tmp_path
        assert group.folder.is_dir()
    assert not list(tmp_path.iterdir())
    with pytest.raises(RuntimeError), bounded_group(tmp_path, 2, MIB):
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def other(name: str, place: int) -> str:
    """The same name, with another number at that place."""
    words = name.split("-")
    words[place] = str(int(words[place]) + 1)
    return "-".join(words)


def test_only_what_is_ours_and_nobody_uses_is_abandoned() -> None:
    ours = own_name()
    assert own_name() != ours
    assert not abandoned(ours)
    assert abandoned(other(ours, 5))  # the same number of a process, and another process
    user, space = 2, 3
    for place in (user, space):
        assert not abandoned(other(other(ours, 5), place))
    for name in ("docker", "user.slice", f"{ours}-more", f"x{ours}", "imagefactory-memory-0"):
        assert not abandoned(name)


def test_what_was_abandoned_is_swept_wherever_it_is(tmp_path: Path) -> None:
    ours, left = own_name(), other(own_name(), 5)
    theirs = other(left, 2)
    for name in (ours, left, theirs):
        (tmp_path / "a" / "b" / name).mkdir(parents=True)
    (tmp_path / other(own_name(), 5)).mkdir()
    busy = tmp_path / other(own_name(), 5)
    (busy / "still").mkdir(parents=True)
    Hierarchy(1, tmp_path, tmp_path).sweep()
    assert {path.name for path in (tmp_path / "a" / "b").iterdir()} == {ours, theirs}
    assert [path for path in tmp_path.iterdir() if path.name != "a"] == [busy]


def test_a_scope_of_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "which", lambda program: f"/usr/bin/{program}")
    monkeypatch.setattr(os, "getuid", lambda: 0)
    words = Systemd(Path("/sys/fs/cgroup")).words("name", 5 * MIB, Path("/tmp/account"))
    script = (
        '"$@"; __status=$?; '
        "cat /sys/fs/cgroup\"$(sed -n 's/^0:://p' /proc/self/cgroup)\"/memory.events"
        ' >"$0"; exit $__status'
    )
    assert words == (
        *("systemd-run", "--scope", "--quiet", "--collect", "--unit=name.scope"),
        *("--property=MemoryMax=5242880", "--property=MemorySwapMax=0", "--property=TasksMax=2048"),
        *("--", "sh", "-c", script, "/tmp/account", "setpriv", "--pdeathsig", "KILL", "--"),
    )
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    users = Systemd(Path("/sys/fs/cgroup")).words("name", 5 * MIB, Path("/tmp/account"))
    assert users == (words[0], "--user", *words[1:])


def account_of(bound: Bound) -> Path:
    return Path(bound.prefix[bound.prefix.index("-c") + 2])


@pytest.mark.parametrize(
    ("account", "status", "exceeded"),
    [
        ("oom 1\noom_kill 1\n", 1, True),
        ("oom 1\noom_kill 1\n", 0, False),  # the command did not mind
        ("oom 0\noom_kill 0\n", 137, False),  # somebody else killed it
        ("", 137, True),  # what writes the account was killed too
        ("", -9, True),
        ("", 1, False),
    ],
)
def test_a_scope_says_what_was_killed_in_it(
    account: str, status: int, exceeded: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Systemd(tmp_path).bound(MIB, MIB) as bound:
        assert f"--property=MemoryMax={2 * MIB}" in bound.prefix
        account_of(bound).write_text(account)
        assert bound.exceeded(status) is exceeded
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("status", "said", "exceeded"),
    [
        (1, "Out of memory!", True),
        (1, "Traceback …\nMemoryError", True),
        (134, "terminate called after throwing an instance of 'std::bad_alloc'", True),
        (1, "fork: Cannot allocate memory", True),
        (1, "no such file", False),
        (0, "Out of memory!", False),
        (1, "Out of memory!" + "\nlater" * 1000, False),
    ],
)
def test_a_limit_on_each_process_is_known_by_what_a_program_says(
    status: int, said: str, exceeded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr("resource.getrlimit", lambda which: (-1, -1))
    with Prlimit().bound(MIB, 7 * MIB) as bound:  # files don't count here, and threads' stacks hardly
        assert bound.prefix == ("prlimit", f"--data={33 * MIB}", "--")
        assert bound.exceeded(status, said) is exceeded


def test_a_lower_limit_of_the_machine_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda which: (-1, 2 * MIB))
    with Prlimit().bound(MIB, 0) as bound:
        assert bound.prefix[1] == f"--data={2 * MIB}"


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine without groups or systemd, whose ways are not known yet."""
    monkeypatch.setattr(memory, "hierarchies", list)
    monkeypatch.setattr(memory, "_SYSTEMD", Path("/nowhere"))
    way.cache_clear()
    yield
    way.cache_clear()


def answers(monkeypatch: pytest.MonkeyPatch, status: int, said: str = "") -> list[list[str]]:
    """Have every process that is tried end so; the words of each."""
    tried: list[list[str]] = []

    def run(argv: list[str], *, timeout: float) -> Finished:
        tried.append(argv)
        return Finished(status, said, "")

    monkeypatch.setattr(memory, "run", run)
    return tried


@pytest.mark.usefixtures("fresh")
def test_the_best_way_is_the_first_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = answers(monkeypatch, 0)
    assert way() == Prlimit()
    assert way() == Prlimit()
    assert len(tried) == 1  # once per run
    way.cache_clear()
    answers(monkeypatch, 1)
    assert way() == Nothing()
    assert not way().together


@pytest.mark.usefixtures("fresh")
def test_a_way_that_is_asked_for_must_work(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, 1)
    monkeypatch.setenv(VARIABLE, "prlimit")
    with pytest.raises(EngineError, match="memory can't be bounded with prlimit on this machine"):
        way()
    monkeypatch.setenv(VARIABLE, "hope")
    with pytest.raises(BadInput, match="'hope', which is no way of bounding memory"):
        way()
    monkeypatch.setenv(VARIABLE, "none")
    assert way() == Nothing()


@pytest.mark.usefixtures("fresh")
def test_systemd_must_set_the_bound_to_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    answers(monkeypatch, 0, "67108864\n")
    scopes = Systemd(Path("/sys/fs/cgroup"))
    assert not scopes.works()  # another program runs this machine
    monkeypatch.setattr(memory, "_SYSTEMD", tmp_path)
    monkeypatch.setattr(memory, "which", lambda program: f"/usr/bin/{program}")
    assert scopes.works()
    answers(monkeypatch, 0, "max\n")
    assert not scopes.works()
    answers(monkeypatch, 1, "")
    assert not scopes.works()


def test_the_order_of_ways(tree: Callable[[str], Hierarchy]) -> None:
    second, first = tree(""), Hierarchy(1, Path("/m"), Path("/m/own"))
    assert list(ways([second, first])) == [
        Systemd(second.mount),
        ControlGroup(second.own, 2),
        ControlGroup(Path("/m/own"), 1),
        Prlimit(),
        Nothing(),
    ]
    assert [each.together for each in ways([second, first])] == [True, True, True, False, False]
