"""What a smoke test declares holds: each thing it goes beyond fails it, with the reason."""

from __future__ import annotations

import pytest

from tests.engines.bench import NAP, Bench, exists, running

SLEEP = f"{NAP}1"


def shell(name: str, script: str, **more: object) -> dict[str, object]:
    """A smoke test of a line of shell."""
    return {"name": name, "command": ["sh", "-c", script], "time_limit": 20, **more}


ALLOCATE = "perl -e '$x = \"x\" x 300_000_000; print length $x'"
TWO_GIB = "exec perl -e '$n = 2 << 30; $x = \"x\" x $n; print length $x'"
# Ten processes, each with a tenth of 2 GiB: it fails where one of them does.
BROOD = (
    'exec perl -e \'for (1..10) { unless (fork) { $n = (2 << 30) / 10; $x = "x" x $n; sleep 2; exit 0 } } '
    "$bad = 0; while (wait != -1) { $bad ||= $? } exit($bad ? 7 : 0)'"
)
NEARLY = "exec perl -e '$n = 480 << 20; $x = \"x\" x $n; print length $x'"
LIMIT = "512 MiB"
TOO_MUCH = "needed more memory than its limit of 512 MiB"
NUMBER = {"pattern": "^number ([0-9.]+)$", "min": 1, "max": 2}
FAILING = [
    (shell("slow", SLEEP, time_limit=1), "ran longer than its limit of 1 seconds"),
    (
        shell("greedy", ALLOCATE, memory_limit="16 MiB", write_limit="1 MiB"),
        "needed more memory than its limit of 16 MiB",
    ),
    (shell("hungry", TWO_GIB, memory_limit=LIMIT), TOO_MUCH),
    (shell("brood", BROOD, memory_limit=LIMIT), TOO_MUCH),
    (
        shell("files", "head -c 9000000 /dev/zero >big", write_limit="8 MiB"),
        "wrote more to /work than its limit of 8 MiB",
    ),
    (
        shell("careless", "head -c 9000000 /dev/zero >big || true", write_limit="8 MiB"),
        "wrote more to /work than its limit of 8 MiB",
    ),
    (shell("flood", "yes", write_limit="1 MiB"), "wrote more than its limit of 1 MiB"),
    (shell("status", "echo why; exit 3"), "exit status 3, expected 0"),
    (shell("expects", "true", status=4), "exit status 0, expected 4"),
    (shell("pattern", "echo one", output=["^two$"]), "no output matches '^two$'"),
    (shell("range", "echo number 2.5", measures={"n": NUMBER}), "n is 2.5, expected 1 to 2"),
    (
        shell("number", "echo number 1..5", measures={"n": NUMBER}),
        "n: is 1..5, not a number",
    ),
    (shell("missing", "true", files=["out/x.dat"]), "the file out/x.dat is missing"),
    (shell("empty", ": >'a b'", files=["a b"]), "the file a b is empty"),
    (shell("network", "echo x >/dev/tcp/127.0.0.1/1"), "exit status"),
    (shell("read-only", "touch /usr/x"), "exit status 1, expected 0"),
    (shell("late", "exec >&- 2>&-; sleep 1; exit 5"), "exit status 5, expected 0"),
]
PASSING = [
    shell("silent-and-late", "exec >&- 2>&-; sleep 1; exit 5", status=5),
    shell("almost-full", "head -c 7000000 /dev/zero >big", write_limit="8 MiB", files=["big"]),
    shell("nearly", NEARLY, memory_limit=LIMIT, output=["^503316480$"]),
    shell("within", "echo number 1.5; mkdir out; echo >out/x", measures={"n": NUMBER}, files=["out/x"]),
]


@pytest.fixture(scope="module")
def outcome(module_bench: Bench) -> tuple[Bench, str, str]:
    """The one build that runs them all, and what it said."""
    image = module_bench.recipe("bounds", tests=[test for test, _ in FAILING] + PASSING)
    return module_bench, image, module_bench.run("build", image, status=1).err


@pytest.mark.parametrize(("test", "reason"), FAILING, ids=[str(test["name"]) for test, _ in FAILING])
def test_beyond_a_bound(outcome: tuple[Bench, str, str], test: dict[str, object], reason: str) -> None:
    bench, image, err = outcome
    assert reason in bench.failed_tests(image)[str(test["name"])]
    said = err.partition(f"error: {image}: smoke test {test['name']} failed\n")[2].partition("error: ")[0]
    assert f"\n  ✗ {reason}" in said
    assert err.count(f"smoke test {test['name']} failed") == 2  # as it happens, and in full at the end


def test_within_the_bounds(outcome: tuple[Bench, str, str]) -> None:
    bench, image, err = outcome
    assert "  | touch: cannot touch '/usr/x': Read-only file system\n" in err
    assert set(bench.failed_tests(image)) == {str(test["name"]) for test, _ in FAILING}
    tests = {test["name"]: test for test in bench.report(image)["tests"]}
    assert tests["within"]["measures"] == {"n": 1.5}
    assert tests["range"]["measures"] == {"n": 2.5}
    assert tests["silent-and-late"]["seconds"] >= 1


def test_an_image_that_failed_is_not_kept(outcome: tuple[Bench, str, str]) -> None:
    bench, image, _ = outcome
    report = bench.report(image)
    assert (report["status"], report["reference"]) == ("failed", "")
    assert not exists(f"imagefactory/{image}")
    assert not running(SLEEP)
    bench.assert_clean()
    assert "its tests failed last time" in bench.run("plan", image).out
