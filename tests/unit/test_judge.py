"""Is an image up to date; and if not, the reason in words."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from imagefactory.backends.docker.render import render
from imagefactory.bases import load_base
from imagefactory.model.recipe import SmokeTest
from imagefactory.model.report import BaseReport
from imagefactory.plan import Verdict, judge, judge_base, made_base
from imagefactory.plan import tests_digest as digest_of_tests
from imagefactory.plan.bases import definition_digest
from imagefactory.plan.judge import explain
from imagefactory.records import record_of_base
from tests.unit.samples import apt_file, base_lock, file, folder, image, lock, report, spec

DIGESTS = {"old": "sha256:" + "1234567890" * 6, "new": "sha256:" + "abcdef" * 10}


def verdict(exists: bool = True, **changes: Any) -> Verdict:
    context = render(spec())
    last = {
        "input_digest": context.input_digest,
        "tests_digest": digest_of_tests(image()),
        "ingredients": dict(context.ingredients),
        **changes,
    }
    return judge(image(), context, report(**last), lambda reference, digest: exists)


def test_what_was_never_built_is_built() -> None:
    found = judge(image(), render(spec()), None, lambda reference, digest: True)
    assert found == Verdict("build", ("it was never built here",))


def test_what_is_unchanged_is_left_alone() -> None:
    assert verdict() == Verdict("nothing", ("nothing changed since it was built and tested",))


def test_what_failed_is_built_again() -> None:
    assert verdict(status="failed") == Verdict("build", ("its tests failed last time",))


def test_what_is_gone_is_built_again() -> None:
    assert verdict(exists=False) == Verdict("build", ("the engine no longer has it as imagefactory/app:1.0",))


def test_changed_tests_are_only_run_again() -> None:
    assert verdict(tests_digest="other") == Verdict("test", ("its tests changed",))


def test_a_changed_input_is_named() -> None:
    old = dict(render(spec(image=image(version="0.9"))).ingredients)
    assert verdict(input_digest="other", ingredients=old) == Verdict("build", ("version 0.9 → 1.0",))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ({"version": "1.9"}, {"version": "1.10"}, "version 1.9 → 1.10"),
        ({"title": "x" * 70}, {"title": None}, "title " + "x" * 57 + "... → nothing"),
        ({"apt inputs": ["a", "b"]}, {"apt inputs": ["b", "c"]}, "apt inputs: + c, - a"),
        ({"path": ["/a", "/b"]}, {"path": ["/b", "/a"]}, "path: another order"),
        ({"environment": {"A": "1", "B": "1"}}, {"environment": {"B": "2"}}, "environment: A, B changed"),
        ({"install.sh": "1"}, {"install.sh": "2"}, "install.sh changed"),
        ({}, {"files/a": "1"}, "files/a is new"),
        ({"files/a": "1"}, {}, "files/a was removed"),
        (
            {"base image d": DIGESTS["old"]},
            {"base image d": DIGESTS["new"]},
            "base image d moved 12345678… → abcdefab…",
        ),
        ({}, {"base image d": DIGESTS["new"]}, "now on base image d"),
        ({"Dockerfile": "1"}, {"Dockerfile": "2"}, "Dockerfile changed"),
        ({"date": 1}, {"date": 2}, "date 1 → 2"),
        ({"revision": "a", "date": 1}, {"revision": "b", "date": 2}, "the recipe's last commit is now b"),
        (
            {"version": "1", "Dockerfile": "1", "date": 1},
            {"version": "2", "Dockerfile": "2", "date": 2},
            "version 1 → 2",
        ),
        ({"version": "1"}, {"version": "1"}, "it was built by another version of imagefactory"),
    ],
)
def test_a_difference_is_told_in_words(old: dict[str, Any], new: dict[str, Any], reason: str) -> None:
    assert explain(old, new) == [reason]


def test_every_telling_difference_is_told() -> None:
    assert explain({"version": "1", "title": "A"}, {"version": "2", "title": "B"}) == [
        "version 1 → 2",
        "title A → B",
    ]


@pytest.mark.parametrize(
    "changed",
    [
        image(tests=(SmokeTest(name="runs", command=("hello", "--version")),)),
        image(tests=(SmokeTest(name="runs", command=("hello",), time_limit=61),)),
        image(folder=folder(tests=(file(),))),
        image(folder=folder(tests=(file(mode=0o755),))),
        image(folder=folder(tests=(file(data=b"other"),))),
        image(commands=("hello", "bye")),
        image(environment={"GREETING": "bye"}),
    ],
)
def test_the_tests_digest_covers_all_that_decides_their_outcome(changed: Any) -> None:
    others = {digest_of_tests(image()), digest_of_tests(image(folder=folder(tests=(file(path="other"),))))}
    assert digest_of_tests(changed) not in others
    assert digest_of_tests(changed) == digest_of_tests(dataclasses.replace(changed, title="Another title"))


def test_a_base_image_is_made_once_and_again_when_its_file_changes(workspace: Any) -> None:
    root = workspace()
    definition, record = load_base(root, "debian-12"), record_of_base(root, "debian-12")
    ours = base_lock()
    assert judge_base(definition, ours, record, record.read_base()) == "base image debian-12 is not made yet"
    assert made_base(definition, ours, record) is None

    (record.layout / "blobs" / "sha256").mkdir(parents=True)
    (record.layout / "blobs" / "sha256" / "1").write_text("{}")
    record.write(
        BaseReport(
            name="debian-12",
            definition_digest=definition_digest(definition, ours),
            image_digest="sha256:1",
            bytes=1,
            built="2024-05-01T12:00:00Z",
            steps=(),
            engines={},
        )
    )
    base = made_base(definition, ours, record)
    assert base is not None
    assert base.reference == "imagefactory/debian-12@sha256:1"

    later = dataclasses.replace(definition, epoch=definition.epoch + 1)
    other = dataclasses.replace(definition, base=definition.base.model_copy(update={"packages": ("gcc",)}))
    newer = lock(image={"apt": (*ours.image.apt, apt_file("gcc"))})
    for changed, of_it in ((later, ours), (other, ours), (definition, newer)):
        assert judge_base(changed, of_it, record, record.read_base()) == (
            "base image debian-12 has changed in its file or its lock"
        )
    # No lock tells what it should be made of.
    assert made_base(definition, None, record) is None
    (record.layout / "blobs" / "sha256" / "1").unlink()
    assert judge_base(definition, ours, record, record.read_base()) == "base image debian-12 is not made yet"
