"""The bound on memory holds in SIF files, in each way that this machine has, and says which way it was."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagefactory.system.cgroups import hierarchies
from imagefactory.system.memory import VARIABLE, way, ways
from imagefactory.system.processes import Stop
from imagefactory.targets.sif.subject import SifSubject
from imagefactory.testing.subject import MIB, Call, Outcome
from tests.engines.bench import NAP, Bench, running, wait_for
from tests.engines.cluster import as_cluster_user
from tests.engines.test_bounds import BROOD, NEARLY, TOO_MUCH, TWO_GIB

TOGETHER = "bounded for all processes together"
EACH = "bounded for each process by itself (prlimit)"
GROUPS = ("systemd", "cgroup2", "cgroup1")
Run = Callable[..., Outcome]


def works(name: str) -> bool:
    """Whether this machine has that way."""
    for each in ways(hierarchies()):
        if each.name == name:
            try:
                return each.works()
            except OSError:
                return False
    return False


@pytest.fixture(scope="module", params=[*GROUPS, "prlimit"])
def forced(request: pytest.FixtureRequest) -> str:
    """Each way that this machine has."""
    name: str = request.param
    if not works(name):
        pytest.skip(f"this machine does not bound memory with {name}")
    return name


@pytest.fixture(scope="module")
def image(module_bench: Bench) -> str:
    """An image that was built for clusters, with bounds of the best kind."""
    made = module_bench.recipe("memory")
    module_bench.run("build", made, "--format", "sif")
    return made


@pytest.fixture
def run(
    image: str, module_bench: Bench, forced: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Run]:
    """Runs a line of shell in the SIF file within the bounds of a test, in the forced way."""
    monkeypatch.setenv(VARIABLE, forced)
    way.cache_clear()
    (file,) = (module_bench.build / image).glob("*.sif")
    subject = SifSubject(file, (), tmp_path, Stop(), nvidia=False)

    def run(script: str, **bounds: object) -> Outcome:
        call = Call(command=("sh", "-c", script), **bounds)  # type: ignore[arg-type]
        return subject.run(call)

    yield run
    way.cache_clear()


def groups(pid: int) -> list[Path]:
    """All groups that are there of one process; others may be testing too."""
    found: list[Path] = []
    for tree in hierarchies():
        for folder, names, _ in os.walk(tree.mount):
            found += [
                Path(folder) / name
                for name in names
                if re.match(rf"imagefactory-memory-\d+-\d+-{pid}-", name)
            ]
    return found


def test_one_process_that_takes_too_much_is_stopped(run: Run) -> None:
    ended = run(TWO_GIB)
    assert ended.stopped == TOO_MUCH
    assert ended.status != 0


def test_many_that_take_too_much_together_are_stopped_where_all_are_counted(run: Run, forced: str) -> None:
    ended = run(BROOD)
    assert (ended.status, ended.stopped) == ((7, TOO_MUCH) if forced in GROUPS else (0, ""))


def test_a_program_near_its_limit_runs(run: Run) -> None:
    ended = run(NEARLY)
    assert (ended.status, ended.output, ended.stopped) == (0, "503316480", "")


def test_full_folders_leave_a_program_its_memory(run: Run) -> None:
    """They are memory too, and counted beside what the program may take."""
    fill = "head -c 255M /dev/zero >big && head -c 63M /dev/zero >/tmp/big"
    ended = run(f"{fill} && {NEARLY}", write_limit=256 * MIB)
    assert (ended.status, ended.output, ended.stopped) == (0, "503316480", "")


def test_files_in_shared_memory_are_the_test_s_own(run: Run) -> None:
    name = f"/dev/shm/test.{os.getpid()}"  # of the test, not the machine's
    assert run(f"head -c 10M /dev/zero >{name}").status == 0
    assert not Path(name).exists()
    assert run(f"head -c 100M /dev/zero >{name}").status != 0


def test_nothing_of_it_stays(run: Run) -> None:
    run("true")
    run(TWO_GIB)
    assert not groups(os.getpid())


@pytest.mark.usefixtures("image")
def test_a_report_says_how_memory_was_bounded(module_bench: Bench, image: str) -> None:
    way.cache_clear()
    best = way()
    said = module_bench.report(image, "sif")["memory"]
    assert said == {"how": best.how, "together": best.together}
    assert module_bench.report(image)["memory"] is None  # Docker's doing
    assert ("tests' memory" in module_bench.run("show", image).out) is not best.together
    ended = module_bench.run("test", image, IMAGEFACTORY_MEMORY_BOUND="prlimit")
    assert f"testing: memory is {EACH}" in ended.err
    assert module_bench.report(image, "sif")["memory"] == {"how": EACH, "together": False}
    assert EACH in module_bench.run("show", image).out


def test_what_takes_too_much_on_clusters_alone_is_told(bench: Bench) -> None:
    command = ["sh", "-c", f"[ ! -d /.singularity.d ] || {TWO_GIB}"]
    test = {"name": "hungry", "command": command, "memory_limit": "512 MiB"}
    image = bench.recipe("hungry", tests=[test])
    ended = bench.run("build", image, "--format", "sif", status=1)
    assert f"\n  ✗ {TOO_MUCH}" in ended.err
    reasons = {t["reason"] for t in bench.report(image, "sif")["tests"] if t["status"] == "failed"}
    assert reasons == {TOO_MUCH}


def test_a_way_that_is_none_is_refused(module_bench: Bench, image: str) -> None:
    ended = module_bench.run("test", image, status=2, IMAGEFACTORY_MEMORY_BOUND="hope")
    assert f"{VARIABLE} is 'hope', which is no way of bounding memory" in ended.errors[0]


AS_SOMEBODY = """
import sys
from pathlib import Path
from imagefactory.system.memory import way
from imagefactory.system.processes import Stop
from imagefactory.targets.sif.subject import SifSubject
from imagefactory.testing.subject import Call

print(way().how)
subject = SifSubject(Path(sys.argv[1]), (), Path(sys.argv[2]), Stop(), nvidia=False)
for script in sys.argv[3:]:
    ended = subject.run(Call(command=("sh", "-c", script)))
    print(f"{ended.status} {ended.stopped}".strip())
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_an_ordinary_user_without_groups_bounds_each_process(module_bench: Bench, image: str) -> None:
    way.cache_clear()
    if way().name == "systemd":
        pytest.skip("ordinary users may have scopes of systemd's here")
    (file,) = (module_bench.build / image).glob("*.sif")
    with as_cluster_user() as user:
        become = ("setpriv", f"--reuid={user.uid}", f"--regid={user.gid}", "--clear-groups", "--")
        words = (user.given(file), str(user.home), TWO_GIB, NEARLY, BROOD)
        done = subprocess.run(
            [*become, sys.executable, "-c", AS_SOMEBODY, *words],
            env={"HOME": str(user.home), "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert done.stdout.splitlines() == [EACH, f"1 {TOO_MUCH}", "0", "0"], done.stderr


@pytest.mark.long
def test_a_killed_run_leaves_no_group_after_the_next(bench: Bench) -> None:
    way.cache_clear()
    if not way().name.startswith("cgroup"):
        pytest.skip("this machine has no groups of ours")
    words = f"{NAP}8"
    script = f"[ ! -d /.singularity.d ] || {words}"
    slow = [{"name": "slow", "command": ["sh", "-c", script], "time_limit": 300}]
    image = bench.recipe("killed-in-a-group", tests=slow)
    process = bench.start("build", image, "--format", "sif")
    wait_for(lambda: running(words), 120)
    assert len(groups(process.pid)) == 1
    process.kill()
    process.communicate(timeout=10)
    wait_for(lambda: not running(words), 20)
    assert len(groups(process.pid)) == 1
    bench.run("build", bench.recipe("next"), "--format", "sif")
    assert not groups(process.pid)
    bench.assert_clean()
