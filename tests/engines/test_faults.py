"""What goes wrong for real: signals, kills, a dead mirror, a broken step, two builds at once."""

from __future__ import annotations

import os
import pty
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.engines.bench import COMMAND, NAP, Bench, exists, inspect, running, wait_for

BUILDING = f"{NAP}2"
TESTING = f"{NAP}3"
SLOW_TEST = [{"name": "slow", "command": TESTING.split(), "time_limit": 300}]


def sleeping(words: str) -> Callable[[], bool]:
    """Whether the step or test is under way: a condition to wait for."""
    return lambda: running(words)


def slow_recipe(bench: Bench, moment: str) -> tuple[str, str]:
    """An image whose build or test takes its time, and the words of the process that waits."""
    if moment == "build":
        return bench.recipe("slow-build", BUILDING), BUILDING
    return bench.recipe("slow-test", tests=SLOW_TEST), TESTING


@pytest.mark.parametrize(
    ("moment", "number"), [("build", signal.SIGINT), ("test", signal.SIGINT), ("test", signal.SIGTERM)]
)
def test_an_interrupt_leaves_nothing_behind(bench: Bench, moment: str, number: signal.Signals) -> None:
    image, words = slow_recipe(bench, moment)
    process = bench.start("build", image)
    wait_for(sleeping(words))
    start = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - start < 15
    assert process.returncode == 130, err
    assert "Traceback" not in out + err
    assert err.splitlines()[-1] == "interrupted"
    assert "error:" not in err
    bench.assert_clean()
    wait_for(lambda: not running(words), 5)
    assert not exists(f"imagefactory/{image}")
    assert not bench.report_file(image).exists()


def test_an_interrupt_while_a_base_image_is_made(bench: Bench) -> None:
    image = bench.recipe("interrupted-base")
    before = bench.report_file("debian-12", "base").read_bytes()
    process = bench.start("build", "debian-12", image, "--no-cache")
    wait_for(lambda: bool(list(bench.build.glob("*/base/scratch/sandbox-*/repository"))))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == "interrupted"
    bench.assert_clean()
    assert bench.report_file("debian-12", "base").read_bytes() == before
    bench.run("build", image)


def test_who_waits_for_another_build_can_be_interrupted(bench: Bench) -> None:
    image, words = slow_recipe(bench, "build")
    holder = bench.start("build", image)
    wait_for(sleeping(words))
    waiter = bench.start("build", image)
    assert waiter.stderr
    assert "waiting for another build" in waiter.stderr.readline()
    waiter.send_signal(signal.SIGINT)
    assert waiter.communicate(timeout=10)[1].endswith("interrupted\n")
    assert waiter.returncode == 130
    assert running(words), "the other build went on"
    holder.send_signal(signal.SIGINT)
    holder.communicate(timeout=60)


@pytest.mark.parametrize(
    ("moment", "next_command"), [("build", "test"), ("test", "build"), ("base", "test"), ("between", "build")]
)
def test_what_a_killed_build_left_goes_with_the_next(bench: Bench, moment: str, next_command: str) -> None:
    """The next command of this checkout sweeps, whatever it is about, and even where it has nothing to do."""
    if moment == "base":
        image = bench.recipe("killed-base")
        process = bench.start("build", "debian-12", image, "--no-cache")
        wait_for(lambda: bool(list(bench.build.glob("*/base/scratch/sandbox-*/repository"))))
    elif moment == "between":
        image = bench.recipe("killed-between", "head -c 60000000 /dev/urandom >/opt/noise")
        process = bench.start("build", image)
        wait_for(lambda: bool(list(bench.build.glob("*/oci/scratch/layout/ingest"))))
    else:
        image, words = slow_recipe(bench, moment)
        process = bench.start("build", image)
        wait_for(sleeping(words))
    process.kill()
    process.communicate(timeout=10)
    assert bench.leftovers(), "then this test shows nothing"
    wait_for(lambda: not bench.processes(), 20, lambda: f"still running: {bench.processes()}")
    if moment == "build":
        wait_for(lambda: not running(words), 20)
    if next_command == "build":
        assert "nothing to do" in bench.run("build", "debian-12").out
    else:
        other = bench.recipe("other")
        assert "not locked yet" in bench.run("test", other, status=2).err
    bench.assert_clean()
    assert not running(TESTING)
    if moment in ("base", "between"):
        bench.run("build", image)


def test_a_failing_step_is_named_and_shown(bench: Bench) -> None:
    image = bench.recipe("failing", "echo fine >/usr/share/x")
    bench.run("build", image)
    good, digest = bench.report(image), inspect(f"imagefactory/{image}")["Id"]
    bench.recipe("failing", "for i in $(seq 100); do echo line $i; done\necho no such luck\nexit 17")
    ended = bench.run("build", image, status=1)
    log = bench.build / image / "oci" / "build.log"
    assert f"error: {image}: step 'install.sh' ended with status 17" in ended.errors
    assert "  | no such luck" in ended.err.splitlines()
    assert "  | line 100" in ended.err
    assert "  | line 1\n" not in ended.err
    assert f"everything it wrote: {log}" in ended.err
    assert "line 1\n" in log.read_text()
    assert "no such luck" in log.read_text()
    # Nothing of what was good is lost.
    assert bench.report(image) == good
    assert inspect(f"imagefactory/{image}")["Id"] == digest
    bench.assert_clean()
    bench.recipe("failing", "echo fine >/usr/share/x")
    (result,) = bench.run("build", image, "--json").json()
    assert result["action"] == "nothing"


@pytest.fixture
def closed_port() -> str:
    """An address where nothing answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def without_network(closed_port: str) -> dict[str, Any]:
    """The environment of a command that reaches nothing, whatever this machine's proxies are."""
    dead = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), closed_port)
    return {**dead, "no_proxy": "", "NO_PROXY": ""}


def test_a_dead_mirror_while_a_base_image_is_locked(bench: Bench, closed_port: str) -> None:
    lock = bench.root / "base_images" / "debian-12.lock.yaml"
    before, start = lock.read_bytes(), time.monotonic()
    words = ("lock", "--upgrade", "debian-12")
    ended = bench.run(*words, status=1, **without_network(closed_port))
    assert time.monotonic() - start < 60
    (line,) = ended.errors
    assert line.startswith("error: base image debian-12: the proxy does not let us reach http")
    assert "check 'proxies' in site.yaml, or http_proxy and https_proxy" in ended.err
    assert lock.read_bytes() == before
    bench.assert_clean()


def test_a_dead_mirror_while_an_image_is_locked(bench: Bench, closed_port: str) -> None:
    image = bench.recipe("dead-mirror", inputs={"apt": ["beep"]})
    start = time.monotonic()
    ended = bench.run("build", image, "--no-cache", status=1, **without_network(closed_port))
    assert time.monotonic() - start < 60
    (line,) = ended.errors
    assert line.startswith(
        f"error: recipes/{image}: {image}: apt packages: the proxy does not let us reach http"
    )
    assert "check 'proxies' in site.yaml, or http_proxy and https_proxy" in ended.err
    assert not (bench.folder(image) / "lock.yaml").exists()
    bench.assert_clean()
    bench.run("build", image)


def test_a_dead_mirror_while_inputs_are_fetched(bench: Bench, closed_port: str, tmp_path: Path) -> None:
    image = bench.recipe("dead-fetch", inputs={"apt": ["hello"]})
    bench.run("lock", image)
    empty: dict[str, Any] = {"IMAGEFACTORY_STORE": str(tmp_path / "store")}
    start = time.monotonic()
    ended = bench.run("build", image, status=1, **empty, **without_network(closed_port))
    assert time.monotonic() - start < 60
    (line,) = ended.errors
    assert line.startswith(f"error: recipes/{image}: apt package hello 2."), line
    assert "check 'proxies' in site.yaml, or http_proxy and https_proxy" in ended.err
    assert not list((tmp_path / "store").glob("sha256/*/*"))
    bench.assert_clean()
    bench.run("build", image, **empty)


def test_no_engine_answers(bench: Bench) -> None:
    image = bench.recipe("no-engine")
    bench.run("lock", image)
    host = "unix:///nonexistent.sock"
    for words in (["build", image], ["test", image], ["build", "debian-12"]):
        ended = bench.run(*words, status=3, DOCKER_HOST=host)
        assert ended.errors == ["error: the Docker Engine does not answer"], ended.text
        assert "ci/setup" in ended.err
        ended = bench.run(*words, status=3, DOCKER_HOST="tcp://127.0.0.1:1")
        assert len(ended.errors) == 1
        assert "the Docker Engine" in ended.errors[0]
    bench.run("check", image, DOCKER_HOST=host)
    bench.run("list", image, DOCKER_HOST=host)
    bench.run("render", image, DOCKER_HOST=host)


def test_programs_that_are_missing(bench: Bench, tmp_path: Path) -> None:
    image = bench.recipe("no-programs")
    for missing, line in (
        ("docker", "error: docker is not installed"),
        ("mmdebstrap", "error: mmdebstrap, which makes base images, is not installed"),
        ("bwrap", "error: bubblewrap, which keeps what comes from outside in a sandbox, is not installed"),
    ):
        folder = tmp_path / f"without-{missing}"
        folder.mkdir()
        for name in {"docker", "mmdebstrap", "git", "setpriv", "bwrap"} - {missing}:
            found = next(p for d in os.get_exec_path() if (p := Path(d) / name).exists())
            (folder / name).symlink_to(found)
        ended = bench.run("build", "debian-12", image, "--no-cache", status=3, PATH=str(folder))
        assert set(ended.errors) == {line}


def test_two_builds_of_one_image_share_the_result(bench: Bench) -> None:
    image = bench.recipe("shared", "sleep 3; date +%s%N >/usr/share/now")
    both = [bench.start("build", image) for _ in range(2)]
    ended = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], ended
    waited = [err for _, err in ended if "waiting for another build of it" in err]
    idle = [out for out, _ in ended if f"{image}: nothing to do" in out]
    # The one that locks may wait for the other before it builds.
    assert waited
    assert len(idle) == 1
    assert inspect(f"imagefactory/{image}")["Id"] == bench.report(image)["digest"]


def test_one_image_in_two_checkouts_at_once(make_bench: Callable[[str], Bench]) -> None:
    benches = [make_bench("one"), make_bench("two")]
    for bench in benches:
        image, other = bench.recipe("twice", "sleep 1"), bench.recipe("also", "sleep 1")
    running_ = [bench.start("build", image, other) for bench in benches]
    for process, bench in zip(running_, benches, strict=True):
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert bench.report(image)["status"] == bench.report(other)["status"] == "passed"
    digests = {bench.report(image)["digest"] for bench in benches}
    assert digests == {inspect(f"imagefactory/{image}")["Id"]}
    # Each finds its image, although the other gave it its name too.
    assert all("nothing to do" in bench.run("build", image).out for bench in benches)


def test_one_that_fails_does_not_stop_the_others(bench: Bench) -> None:
    bad, good = bench.recipe("a-bad", "exit 1"), bench.recipe("b-good")
    ended = bench.run("build", bad, good, "--json", status=1)
    found = {result["id"]: result["action"] for result in ended.json()}
    assert found == {bad: "failed", good: "build"}
    assert exists(f"imagefactory/{good}")


def test_a_shell_opens_where_the_build_broke(bench: Bench) -> None:
    image = bench.recipe("debugged", "echo 'it was here' >/opt/trace\nfalse")
    assert "needs a terminal" in bench.run("build", image, "--debug-shell", status=2).err
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(bench.root)
        os.execve(COMMAND, [COMMAND, "build", image, "--debug-shell"], bench.variables(TERM="xterm"))
    text = expect(terminal, "opening a shell in that step")
    assert "step 'install.sh' ended with status 1" in text
    expect(terminal, "# ")
    os.write(terminal, b"cat /opt/trace; echo $((6 * 7)).\n")
    assert "it was here" in expect(terminal, "42.")
    os.write(terminal, b"exit\n")
    expect(terminal, "(buildx) ")
    os.write(terminal, b"exit\n")
    expect(terminal, "")
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 1
    os.close(terminal)
    bench.assert_clean(patience=5)


def expect(terminal: int, words: str) -> str:
    """Read from a terminal until ``words`` come, or to its end for no words."""
    os.set_blocking(terminal, False)
    text, end = "", time.monotonic() + 60
    while not words or words not in text:
        assert time.monotonic() < end, text
        try:
            piece = os.read(terminal, 4096).decode(errors="replace")
        except BlockingIOError:
            time.sleep(0.05)
            continue
        except OSError:  # Linux's way to say that the other side is closed
            piece = ""
        if not piece:
            assert not words, text
            break
        text += piece
    return text
