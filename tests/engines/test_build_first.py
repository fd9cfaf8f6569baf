"""The first build of a new recipe, and what is kept of it."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

from tests.engines.bench import HELLO, Bench, docker, exists, inspect

FIELDS = {"kind", "id", "input_digest", "digest", "bytes", "steps", "tests", "engines"}
CONTRACT = {
    "file-ownership",
    "arbitrary-user",
    "read-only-root",
    "no-network",
    "environment",
    "commands",
    "not-root",
    "labels",
    "no-secrets",
    "no-leftovers",
    "no-new-setuid",
}
OCI = "title version licenses authors url source revision created base.name base.digest description"


def test_a_new_recipe_builds_and_passes(first: Bench) -> None:
    report = first.report(HELLO)
    assert report["status"] == "passed"
    assert {t["name"] for t in report["tests"] if t["kind"] == "contract"} == CONTRACT
    assert [t["name"] for t in report["tests"] if t["kind"] == "smoke"] == ["greets"]
    assert {t["status"] for t in report["tests"]} == {"passed"}
    first.assert_clean()


def test_the_report_is_as_its_schema_says(first: Bench) -> None:
    schema = first.run("schema", "report").json()
    report = first.report(HELLO)
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(report)
    assert set(report) >= FIELDS
    assert all(set(step) >= {"name", "seconds"} for step in report["steps"])
    assert all(set(test) >= {"name", "kind", "status", "reason"} for test in report["tests"])
    assert {"docker", "buildx"} <= set(report["engines"])
    assert "mmdebstrap" in _base(first)["engines"]
    assert not Draft202012Validator(schema).is_valid({**report, "bytes": "many"})


def test_the_image_is_named_and_labelled(first: Bench) -> None:
    report = first.report(HELLO)
    facts = inspect(f"imagefactory/{HELLO}:2.10")
    assert facts["Id"] == report["digest"] == inspect(f"imagefactory/{HELLO}:latest")["Id"]
    labels = facts["Config"]["Labels"]
    assert {f"org.opencontainers.image.{name}" for name in OCI.split()} <= set(labels)
    assert labels["org.opencontainers.image.title"] == "Hello, the application"
    assert labels["org.opencontainers.image.base.digest"] == _base(first)["digest"]
    assert labels["io.imagefactory.input-digest"] == report["input_digest"]
    assert labels["io.imagefactory.id"] == HELLO
    assert facts["Config"]["User"] == "1000:1000"


def test_a_second_build_does_nothing_and_says_why(first: Bench) -> None:
    before = first.report(HELLO)
    ended = first.run("build", HELLO)
    assert f"{HELLO}: nothing to do, nothing changed since it was made and tested" in ended.out
    assert first.report(HELLO) == before
    (result,) = first.run("build", HELLO, "--json").json()
    assert (result["action"], result["error"]) == ("nothing", None)
    assert result["reasons"] == ["nothing changed since it was made and tested"]


def test_list_and_show_read_the_report(first: Bench) -> None:
    report = first.report(HELLO)
    (listed,) = first.run("list", HELLO, "--json").json()
    assert [target["kind"] for target in listed["targets"]] == ["oci", "sif", "vm"]
    assert listed["targets"][0]["report"]["digest"] == report["digest"]
    (shown,) = first.run("show", HELLO, "--json").json()
    assert shown["targets"] == [
        {"kind": "oci", "stale": [], "report": report},
        {"kind": "sif", "stale": [], "report": None},
        {"kind": "vm", "stale": [], "report": None},
    ]
    assert "12 passed" in first.run("list", HELLO).out
    text = first.run("show", HELLO, COLUMNS="200").out
    assert report["digest"] in text
    assert "no-new-setuid" in text


def test_the_tests_run_again_on_their_own(first: Bench) -> None:
    before = first.report(HELLO)
    (result,) = first.run("test", HELLO, "--json").json()
    assert result["action"] == "test"
    after = first.report(HELLO)
    assert after["digest"] == before["digest"] == result["report"]["digest"]
    assert after["tests"] != before["tests"]  # their times
    assert [t["name"] for t in after["tests"]] == [t["name"] for t in before["tests"]]
    first.assert_clean()


def test_an_image_that_was_removed_is_built_again(bench: Bench) -> None:
    image = bench.recipe("removed")
    bench.run("test", image, status=2)
    bench.run("build", image)
    docker("image", "rm", f"imagefactory/{image}:1.0", f"imagefactory/{image}:latest")
    (result,) = bench.run("build", image, "--json").json()
    assert result["reasons"] == [f"the engine no longer has it as imagefactory/{image}:1.0"]
    assert exists(f"imagefactory/{image}")


def _base(bench: Bench) -> dict[str, Any]:
    return bench.report("debian-12", "base")
