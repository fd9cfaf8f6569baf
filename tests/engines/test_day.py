"""What a maintainer meets between an edit and an image that passes."""

from __future__ import annotations

import shlex
import subprocess

from tests.engines.bench import COMMAND, Bench, docker, exists

SHELL = """
id -u; cat /tests/smoke.sh; pwd; ls -A | wc -l; touch /usr/x; echo it >here && cat here
cat /proc/net/route | wc -l
exit 3
"""


def typed(bench: Bench, text: str, *words: str, status: int) -> str:
    """What a person sees who types ``text`` at a terminal."""
    line = shlex.join([COMMAND, *words])
    done = subprocess.run(
        ["script", "--quiet", "--return", "--command", line, "/dev/null"],
        input=text,
        capture_output=True,
        text=True,
        cwd=bench.root,
        env=bench.variables(),
        timeout=120,
    )
    assert done.returncode == status, done.stdout
    return done.stdout


def script(bench: Bench, name: str, text: str) -> None:
    (bench.folder(name) / "tests" / "smoke.sh").write_text(f"{text}\n")


def test_from_a_failing_test_to_an_image_that_passes(bench: Bench) -> None:
    """The candidate is kept, a shell is opened in it, edited tests run on it, and it gets its name."""
    tests = [{"name": "smoke", "command": ["sh", "/tests/smoke.sh"], "output": ["^fine$"]}]
    image = bench.recipe("day", "echo data >/opt/data", tests=tests)
    script(bench, image, "cat /opt/data")
    ended = bench.run("build", image, "--format", "containers", status=1)
    block = ["  $ sh /tests/smoke.sh", "  ✓ exit status 0", "  ✗ no output matches '^fine$'", "  | data"]
    assert "\n".join([f"error: {image}: smoke test smoke failed", *block]) in ended.err
    candidate = f"imagefactory/failed:{bench.key}.{image}"
    assert bench.report(image)["candidate"]["reference"] == candidate
    assert exists(candidate)
    assert not exists(f"imagefactory/{image}")
    digest = bench.report(image)["digest"]

    seen = typed(bench, SHELL, "shell", image, status=3).replace("\r", "")
    assert f"{image}: a shell in the candidate that failed its tests: the tests are in /tests" in seen
    for line in (
        "12345",
        "cat /opt/data",
        "/work",
        "0",
        "touch: cannot touch '/usr/x': Read-only file system",
    ):
        assert f"\n{line}\n" in seen, seen
    assert "\nit\n" in seen

    script(bench, image, "echo fine")
    ended = bench.run("test", image)
    assert "testing the candidate that failed: asked for" in ended.err
    assert bench.report(image)["status"] == "passed"
    assert docker("image", "inspect", "--format", "{{.Id}}", f"imagefactory/{image}:1.0").strip() == digest
    assert not exists(candidate)

    # The same for the SIF file: only there the test fails.
    script(bench, image, "echo fine; [ -d /.singularity.d ] && exit 4; exit 0")
    ended = bench.run("build", image, "--format", "containers", status=1)
    assert "✗ exit status 4, expected 0" in ended.err
    assert (bench.build / image / "sif" / "failed.sif").is_file()
    assert not list((bench.build / image).glob("*.sif"))
    seen = typed(bench, SHELL, "shell", image, status=3).replace("\r", "")
    assert f"{image} (SIF): a shell in the candidate" in seen
    assert "\nit\n" in seen
    assert "\n/mnt/work\n" in seen
    script(bench, image, "echo fine; exit 0")
    bench.run("build", image, "--format", "containers")
    steps = [step["name"] for step in bench.report(image, "sif")["steps"]]
    assert steps == ["write the SIF file"]
    (kept,) = (bench.build / image).glob("*.sif")
    assert not (bench.build / image / "sif" / "failed.sif").exists()
    bench.assert_clean()

    # A newer version takes the place of all of it; a container that runs the old image keeps it.
    running = docker("create", f"imagefactory/{image}:1.0", "sleep", "9").strip()
    bench.recipe("day", "echo data >/opt/data", tests=tests, version="1.1")
    try:
        bench.run("build", image, "--format", "containers")
        assert exists(f"imagefactory/{image}:1.0")
    finally:
        docker("rm", "--force", running)
    assert not kept.exists()
    bench.recipe("day", "echo data >/opt/data", tests=tests, version="1.2")
    bench.run("build", image, "--format", "containers")
    assert not exists(f"imagefactory/{image}:1.1")
    assert [file.name[:-17] for file in (bench.build / image).glob("*.sif")] == [f"{image}-1.2"]

    # And all of it can be freed.
    ended = bench.run("remove", image, status=2)
    assert "say so with --yes" in ended.err
    told = [line.split("  ")[0] for line in ended.out.splitlines()[1:]]
    assert told == [image] * 3
    bench.run("remove", image, "--yes")
    assert not exists(f"imagefactory/{image}:1.2")
    assert not (bench.build / image).exists()
    docker("image", "rm", f"imagefactory/{image}:1.0")


def test_an_image_that_runs_is_not_removed(bench: Bench) -> None:
    image = bench.recipe("in-use")
    bench.run("build", image)
    running = docker("run", "--detach", f"imagefactory/{image}", "sleep", "60").strip()
    try:
        ended = bench.run("remove", image, "--yes", status=1)
        assert f"error: imagefactory/{image}:1.0 is used by the container " in ended.err
        assert exists(f"imagefactory/{image}:1.0")
        assert exists(f"imagefactory/{image}:latest")
    finally:
        docker("rm", "--force", running)


def test_what_no_recipe_makes_any_more_is_cleaned_away(bench: Bench) -> None:
    image = bench.recipe("gone")
    bench.run("build", image)
    for file in sorted(bench.folder(image).rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    bench.folder(image).rmdir()
    freed = {item["what"]: item["bytes"] for item in bench.run("clean", "--yes", "--json").json()}
    assert freed[f"OCI image imagefactory/{image}:1.0"] > 1000
    assert not exists(f"imagefactory/{image}")
    assert not (bench.build / image).exists()
