"""What is to be done, and why, over a whole graph; nothing of it is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest

from imagefactory.model.recipe import SmokeTest, Waiver
from imagefactory.model.report import NeedReport, Report
from imagefactory.model.spec import BaseSpec, ImageSpec
from imagefactory.model.target import Target, TargetId, Unlocked
from imagefactory.plan import Graph, Verdict, judge
from imagefactory.plan.judge import explain
from tests.unit.samples import (
    apt_file,
    base_lock,
    base_spec,
    definition,
    file,
    folder,
    image,
    lock,
    report,
    spec,
    target,
)

BASE, OCI, SIF = (TargetId("base", "debian-12"), TargetId("oci", "app"), TargetId("sif", "app"))
DIGESTS = {"old": "sha256:" + "1234567890" * 6, "new": "sha256:" + "abcdef" * 10}
FINE = Verdict("nothing", ("nothing changed since it was made and tested",))


def graph(of: ImageSpec | None = None) -> dict[TargetId, Target | Unlocked]:
    """An image for Docker and for clusters, and its base image."""
    whole = of or spec()
    return {BASE: target("base", whole.base), OCI: target("oci", whole), SIF: target("sif", whole)}


def made(of: ImageSpec | None = None, **changes: dict[str, Any]) -> dict[TargetId, Report]:
    """Reports of all of them, each made of the others; ``changes`` by kind."""
    reports: dict[TargetId, Report] = {}
    for id, each in graph(of).items():
        assert isinstance(each, Target)
        needs = tuple(
            NeedReport(
                kind=need.kind,
                id=need.name,
                input_digest=reports[need].input_digest,
                digest=reports[need].digest,
            )
            for need in each.needs
        )
        whole = report(each, digest=f"sha256:{id.kind}", needs=needs)
        reports[id] = whole.model_copy(update=changes.get(id.kind, {}))
    return reports


def verdicts(
    reports: dict[TargetId, Report],
    now: ImageSpec | None = None,
    wanted: Sequence[TargetId] = (OCI, SIF),
    missing: dict[TargetId, str] | None = None,
    **options: Any,
) -> dict[TargetId, Verdict]:
    gone = missing or {}
    return judge(graph(now), wanted, reports.get, lambda each, _: gone.get(each.id, ""), **options)


def test_what_was_never_made_is_made_with_all_that_it_needs() -> None:
    never = Verdict("build", ("it was never made here",))
    assert verdicts({}) == {BASE: never, OCI: never, SIF: never}


def test_what_is_unchanged_is_left_alone() -> None:
    assert verdicts(made()) == {BASE: FINE, OCI: FINE, SIF: FINE}


def test_what_follows_from_a_moved_base_image_is_decided_and_told_at_once() -> None:
    newer = base_spec(lock=base_lock(image={"apt": (apt_file("libc6", "2.37"),)}))
    old, new = graph(), graph(spec(base=newer))
    now = verdicts(made(), spec(base=newer))
    assert now[BASE] == Verdict("build", ("apt packages: dash, libc6, python3 changed",))

    def moved(what: str, id: TargetId) -> Verdict:
        was, is_ = (each[id].input_digest[:8] for each in (old, new))  # type: ignore[union-attr]
        return Verdict("build", (f"{what} moved {was}… → {is_}…",))

    assert now[OCI] == moved("base image debian-12", BASE)
    assert now[SIF] == moved("OCI image app", OCI)


def test_what_failed_is_tested_again_as_long_as_it_is_there() -> None:
    """Made again, it would be the same."""
    again = Verdict("test", ("its tests failed last time",))
    assert verdicts(made(oci={"status": "failed"}))[OCI] == again
    assert verdicts(made(sif={"status": "failed"})) == {BASE: FINE, OCI: FINE, SIF: again}
    gone = verdicts(made(sif={"status": "failed"}), missing={SIF: "it was not kept"})
    assert gone[SIF] == Verdict("build", again.reasons)
    moved = made(oci={"digest": "sha256:123456789"}, sif={"needs": made()[SIF].needs, "status": "failed"})
    assert verdicts(moved)[SIF].action == "build"


def test_what_is_gone_is_made_again_and_nothing_else() -> None:
    gone = verdicts(made(), missing={OCI: "the engine no longer has it"})
    assert gone == {BASE: FINE, OCI: Verdict("build", ("the engine no longer has it",)), SIF: FINE}


def test_what_nobody_needs_is_not_made() -> None:
    idle = Verdict("nothing", ("nothing needs it now",))
    gone = verdicts(made(), missing={BASE: "it is gone"})
    assert gone == {BASE: idle, OCI: FINE, SIF: FINE}
    assert verdicts(made(), wanted=[SIF], missing={BASE: "it is gone", OCI: "it is gone"})[OCI] == idle
    both = verdicts(
        made(sif={"status": "failed"}), wanted=[SIF], missing={BASE: "gone", OCI: "gone", SIF: "gone"}
    )
    assert [verdict.action for verdict in both.values()] == ["build", "build", "build"]


def test_what_its_need_came_out_otherwise_is_made_again() -> None:
    """The same ingredients need not give the same bytes: an engine may have changed."""
    now = verdicts(made(oci={"digest": "sha256:123456789"}, sif={"needs": made()[SIF].needs}))
    assert now[SIF] == Verdict("build", ("OCI image app came out otherwise: oci… → 12345678…",))


def test_changed_tests_are_only_run_again() -> None:
    tested = Verdict("test", ("its tests changed",))
    assert verdicts(made(oci={"tests_digest": "x"}, sif={"tests_digest": "x"})) == {
        BASE: FINE,
        OCI: tested,
        SIF: tested,
    }


def test_a_changed_input_is_named() -> None:
    now = verdicts(made(spec(image=image(version="0.9"))))
    assert now[OCI] == Verdict("build", ("version 0.9 → 1.0",))
    assert now[SIF].action == "build"


def test_what_is_wanted_is_made_anew_where_that_was_asked_for() -> None:
    anew = Verdict("build", ("--no-cache was given",))
    assert verdicts(made(), anew=anew.reasons[0]) == {BASE: FINE, OCI: anew, SIF: anew}


def test_what_is_not_locked_must_be_made_and_says_so() -> None:
    open_: Graph = {
        BASE: target("base"),
        OCI: Unlocked(OCI, (BASE,), "its inputs are not locked yet"),
        SIF: Unlocked(SIF, (OCI,), "its inputs are not locked yet"),
    }
    now = judge(open_, [OCI, SIF], made().get, lambda *_: "", anew="--no-cache was given")
    assert now[SIF] == Verdict("build", ("its inputs are not locked yet",))
    assert now[BASE] == FINE


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ({"version": "1.9"}, {"version": "1.10"}, "version 1.9 → 1.10"),
        ({"title": "x" * 70}, {"title": None}, "title " + "x" * 57 + "... → nothing"),
        ({"apt inputs": ["a", "b"]}, {"apt inputs": ["b", "c"]}, "apt inputs: + c, - a"),
        ({"path": ["/a", "/b"]}, {"path": ["/b", "/a"]}, "path: another order"),
        ({"environment": {"A": "1", "B": "1"}}, {"environment": {"B": "2"}}, "environment: A, B changed"),
        ({"file install.sh": "1"}, {"file install.sh": "2"}, "install.sh changed"),
        ({}, {"file files/a": "1"}, "files/a is new"),
        ({"file files/a": "1"}, {}, "files/a was removed"),
        (
            {"made of base image d": DIGESTS["old"]},
            {"made of base image d": DIGESTS["new"]},
            "base image d moved 12345678… → abcdefab…",
        ),
        ({}, {"made of base image d": DIGESTS["new"]}, "now on base image d"),
        ({"rendered Dockerfile": "1"}, {"rendered Dockerfile": "2"}, "Dockerfile changed"),
        ({"date": 1}, {"date": 2}, "date 1 → 2"),
        ({"revision": "a", "date": 1}, {"revision": "b", "date": 2}, "the recipe's last commit is now b"),
        (
            {"version": "1", "rendered Dockerfile": "1", "date": 1, "inputs": "1"},
            {"version": "2", "rendered Dockerfile": "2", "date": 2, "inputs": "2"},
            "version 1 → 2",
        ),
        ({"version": "1"}, {"version": "1"}, "it was built by another version of imagefactory"),
    ],
)
def test_a_difference_is_told_in_words(old: dict[str, Any], new: dict[str, Any], reason: str) -> None:
    assert explain(old, new) == [reason]


def test_what_another_base_image_brings_is_summed_up() -> None:
    old = {"made of base image debian-12": "1", "apt packages": {"a": "1", "b": "1"}, "path": ["/a"]}
    new = {"made of base image debian-13": "2", "apt packages": {"a": "2", "c": "1"}, "path": ["/b"]}
    summed = ["base image debian-12 → debian-13", "3 packages follow", "path: + /b, - /a"]
    assert explain(old, new) == summed
    assert explain({**old, "apt packages": {}}, {**new, "apt packages": {}})[1:] == ["path: + /b, - /a"]


def test_many_names_are_cut() -> None:
    old, new = ({f"p{number}": version for number in range(60)} for version in ("1", "2"))
    reason = "apt packages: p0, p1, p2, p3, p4 and 55 more changed"
    assert explain({"apt packages": old}, {"apt packages": new}) == [reason]


def test_every_telling_difference_is_told() -> None:
    assert explain({"version": "1", "title": "A"}, {"version": "2", "title": "B"}) == [
        "version 1 → 2",
        "title A → B",
    ]


@pytest.mark.parametrize("kind", ["oci", "sif"])
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
        image(waivers=(Waiver(test="no-secrets", path="opt/key", reason="an example"),)),
    ],
)
def test_the_tests_digest_covers_all_that_decides_their_outcome(changed: Any, kind: str) -> None:
    def digest(of: Any) -> str:
        return target(kind, spec(image=of)).tests_digest

    others = {digest(image()), digest(image(folder=folder(tests=(file(path="other"),))))}
    assert digest(changed) not in others
    assert digest(changed) == digest(dataclasses.replace(changed, title="Another title"))


@pytest.mark.parametrize(
    "changed",
    [
        base_spec(base=dataclasses.replace(definition(), epoch=1)),
        base_spec(base=dataclasses.replace(definition(), platform="linux/arm64")),
        base_spec(base=definition(packages=("gcc",))),
        base_spec(base=definition(title="Another")),
        base_spec(lock=lock(image={"apt": (*base_lock().image.apt, apt_file("gcc"))})),
        base_spec(lock=lock(image={"apt": (*base_lock().image.apt[:-1], apt_file("python3", "9"))})),
    ],
)
def test_a_base_image_moves_with_its_file_its_date_and_its_lock(changed: BaseSpec) -> None:
    assert target("base", changed).input_digest != target("base").input_digest
