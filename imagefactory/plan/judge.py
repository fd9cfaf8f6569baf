"""What is to be done, and why: decided over the whole graph, from digests, before anything is made."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from imagefactory.model.report import Report
from imagefactory.model.target import Target, TargetId, Unlocked
from imagefactory.plan.resolve import Graph
from imagefactory.targets.register import called

Action = Literal["build", "test", "nothing"]
Last = Callable[[TargetId], Report | None]
Missing = Callable[[Target, Report], str]

# How ingredients are named decides how a change of one is told.
MADE_OF = "made of "
WRITTEN = "file "
RENDERED = "rendered "
PACKAGES = " packages"
_SHOWN = 5  # names in a reason
_FOLLOW = ("inputs", "revision", "date")  # from others, or from the recipe's last commit


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be done about a target, and the reasons, each a short text."""

    action: Action
    reasons: tuple[str, ...]


def judge(
    graph: Graph,
    wanted: Collection[TargetId],
    last: Last,
    missing: Missing,
    *,
    anew: str = "",
    full: bool = False,
) -> dict[TargetId, Verdict]:
    """A verdict for each target of a graph. ``last`` gives a target's last report; ``missing`` says why what
    was kept then can't be used; ``anew`` is a reason to make what is ``wanted`` in any case; ``full`` says
    that full tests are asked for.

    What only others need is made only where one of them is.
    """
    verdicts: dict[TargetId, Verdict] = {}
    for id, target in graph.items():
        if anew and id in wanted and isinstance(target, Target):
            verdicts[id] = Verdict("build", (anew,))
        else:
            verdicts[id] = judge_one(target, graph, last, missing, full=full)
    needed: set[TargetId] = set()
    for id in reversed(list(graph)):
        if verdicts[id].action != "nothing" and not (id in wanted or id in needed):
            verdicts[id] = Verdict("nothing", ("nothing needs it now",))
        if verdicts[id].action != "nothing":
            needed.update(graph[id].needs)
    return verdicts


def judge_one(
    target: Target | Unlocked, graph: Graph, last: Last, missing: Missing, *, full: bool = False
) -> Verdict:
    """The verdict on one target, as far as it and what it needs say."""
    if isinstance(target, Unlocked):
        return Verdict("build", (target.reason,))
    report = last(target.id)
    if report is None:
        return Verdict("build", ("it was never made here",))
    if report.input_digest != target.input_digest:
        return Verdict("build", tuple(explain(report.ingredients, target.ingredients)))
    reason = missing(target, report) or _came_out_otherwise(target, graph, report, last)
    if report.status == "failed":  # made again, it would be the same
        return Verdict("build" if reason else "test", ("its tests failed last time",))
    if reason:
        return Verdict("build", (reason,))
    if report.tests_digest != target.tests_digest:
        return Verdict("test", ("its tests changed",))
    if full and any(test.full and test.status == "not-run" for test in report.tests):
        return Verdict("test", ("its full tests are asked for",))
    return Verdict("nothing", ("nothing changed since it was made and tested",))


def _came_out_otherwise(target: Target, graph: Graph, report: Report, last: Last) -> str:
    """Whether what it was made of was made again since, of the same ingredients, and is another now."""
    made_of = {TargetId(need.kind, need.id): need.digest for need in report.needs}
    for id in target.needs:
        need, now = graph[id], last(id)
        current = isinstance(need, Target) and now is not None and now.input_digest == need.input_digest
        if current and now and now.status == "passed" and made_of.get(id, now.digest) != now.digest:
            return f"{called(id)} came out otherwise: {_short(made_of[id])} → {_short(now.digest)}"
    return ""


def explain(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between two sets of ingredients, in words."""
    changed = [name for name in dict.fromkeys([*old, *new]) if old.get(name) != new.get(name)]
    telling = [name for name in changed if name not in _FOLLOW and not name.startswith(RENDERED)]
    if not telling and "revision" in changed:
        return [f"the recipe's last commit is now {_in_words(new.get('revision'))}"]
    exchanged = _exchanged(old, new)
    if not exchanged:
        reasons = [_difference(name, old.get(name), new.get(name)) for name in telling or changed]
        return reasons or ["it was built by another version of imagefactory"]
    # Nobody asked one by one for the packages that another base image brings.
    packages = [name for name in telling if name.endswith(PACKAGES)]
    followed = sum(len(_keys(old.get(name) or {}, new.get(name) or {})) for name in packages)
    moved = [f"{before.removeprefix(MADE_OF)} → {_last(after)}" for before, after in exchanged.items()]
    moved += [f"{followed} package{'s follow' if followed != 1 else ' follows'}"] if followed else []
    told = {*packages, *exchanged, *exchanged.values()}
    return moved + [_difference(name, old.get(name), new.get(name)) for name in telling if name not in told]


def _exchanged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, str]:
    """Ingredients that a target was made of, and those that took their place."""
    gone = {_what(name): name for name in old if name.startswith(MADE_OF) and name not in new}
    come = {_what(name): name for name in new if name.startswith(MADE_OF) and name not in old}
    return {name: come[what] for what, name in gone.items() if what in come}


def _what(made_of: str) -> str:
    return made_of.rpartition(" ")[0]


def _last(made_of: str) -> str:
    return made_of.rpartition(" ")[2]


def _difference(name: str, old: Any, new: Any) -> str:
    if name.startswith(MADE_OF):
        what = name.removeprefix(MADE_OF)
        return f"{what} moved {_short(old)} → {_short(new)}" if old and new else f"now on {what}"
    for prefix in (WRITTEN, RENDERED):
        if name.startswith(prefix):
            verb = "is new" if old is None else "was removed" if new is None else "changed"
            return f"{name.removeprefix(prefix)} {verb}"
    if isinstance(old, list) and isinstance(new, list):
        return f"{name}: {_some(list(_additions(old, new))) or 'another order'}"
    if isinstance(old, dict) and isinstance(new, dict):
        return f"{name}: {_some(_keys(old, new))} changed"
    return f"{name} {_in_words(old)} → {_in_words(new)}"


def _keys(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The names whose values differ."""
    return [key for key in dict.fromkeys([*old, *new]) if old.get(key) != new.get(key)]


def _some(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more


def _additions(old: list[Any], new: list[Any]) -> Iterator[str]:
    yield from (f"+ {item}" for item in new if item not in old)
    yield from (f"- {item}" for item in old if item not in new)


def _short(digest: str) -> str:
    return f"{digest.removeprefix('sha256:')[:8]}…"


def _in_words(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
