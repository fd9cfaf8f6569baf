"""Images and their targets on the screen: what there is, what would be done, and what was."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from imagefactory.cli.calling import pasteable
from imagefactory.cli.text import COLOURS, console, cut, digest, duration, size, table
from imagefactory.model.report import Report, TestReport
from imagefactory.model.target import TargetId
from imagefactory.targets.register import line, lines, shown

if TYPE_CHECKING:
    from imagefactory.drive.planning import Planned
    from imagefactory.drive.result import Result
    from imagefactory.drive.unlocked import NotLockedYet
    from imagefactory.model.recipe import Needs, Terms
    from imagefactory.model.spec import BaseDefinition, ImageDefinition

Reports = Mapping[str, Report | None]
"""By kind, the last report of an image's target."""
Stale = Mapping[TargetId, tuple[str, ...]]
"""Of what was made, what a build would make or test again, and why."""
Unlocked = Mapping[str, "NotLockedYet"]
"""By its identifier, each image that is not locked."""
GIB = 1 << 30
NOT_LOCKED = "(not locked)"


def show_results(results: Iterable[Result]) -> None:
    """The end of a run: what became of each target."""
    results = list(results)
    screen = console()
    for item in results:
        if item.action == "nothing":
            screen.print(Text(f"{_shown(item)}: nothing to do, {'; '.join(item.reasons)}"))
    grid = table("image", "kind", "size", "time", "digest", "tests", wraps=["tests"])
    for item in results:
        grid.add_row(item.name, item.kind, *_row(item))
    screen.print(grid)
    for item in results:
        if item.report and item.report.file and not item.error and line(item.kind).source == "recipes":
            screen.print(Text(f"build/{item.name}/{item.report.file}"), soft_wrap=True)


def _row(item: Result) -> tuple[str | Text, ...]:
    """Size, time, digest and tests of what was made."""
    if item.action == "skipped":
        return "", "", "", Text(f"not made, for {item.reasons[0]}", "yellow")
    took = "up to date" if item.action == "nothing" else duration(item.seconds)
    report = item.report
    if report is None:
        return "", took, "", Text("failed" if item.error else "", "red")
    words = _counted(report.tests)
    return size(report.bytes), took, digest(report.digest), Text(words, "red" if item.error else "green")


def _shown(item: Result) -> str:
    return shown(item.id) if item.kind else item.name


def _counted(tests: Sequence[TestReport]) -> str:
    """How many tests passed, of what is tested."""
    if not tests:
        return "made"
    passed = sum(test.status == "passed" for test in tests)
    words = f"{passed} of {len(tests)} passed"
    skipped = sum(test.status == "not-run" for test in tests)
    return f"{words}, {skipped} not run" if skipped else words


def show_plan(plans: Iterable[Planned], *, moved: bool = False) -> None:
    """What would be done, and why; where a base image ``moved`` whose images are not here, how to see
    them.
    """
    screen = console()
    for item in plans:
        verb = {"build": "build", "test": "test", "nothing": "up to date"}[item.verdict.action]
        text = Text(f"{shown(item.id)}: ")
        text.append(verb, COLOURS[item.verdict.action])
        text.append(f", {', '.join(item.verdict.reasons)}")
        screen.print(text, soft_wrap=True)
        for warning in item.warnings:
            screen.print(Text(f"  {warning}", COLOURS["stale"]), soft_wrap=True)
    if moved:
        screen.print(Text(pasteable("what follows from it: imagefactory plan")), soft_wrap=True)


def show_list(
    images: Iterable[ImageDefinition], reports: Mapping[str, Reports], stale: Stale, unlocked: Unlocked
) -> None:
    """All images, and how each was last built; then what is not locked, and what that waits for."""
    kinds = lines("recipes")
    grid = table("image", "version", "title", *(kind.name for kind in kinds), "tests", wraps=["title"])
    for image in images:
        made = [report for report in reports[image.id].values() if report]
        grid.add_row(
            image.id,
            image.version or NOT_LOCKED,
            cut(image.title),
            *(_kept_size(reports[image.id].get(kind.name)) for kind in kinds),
            _state(made, any(id.name == image.id for id in stale), image.id in unlocked),
        )
    screen = console()
    screen.print(grid)
    for why in dict.fromkeys(unlocked.values()):
        names = ", ".join(name for name, each in unlocked.items() if each == why)
        screen.print(Text(f"not locked: {names}"), soft_wrap=True)
        screen.print(Text(f"  {why}"), soft_wrap=True)


def _state(made: Sequence[Report], stale: bool, unlocked: bool) -> Text:
    """How the tests of what was made went, where that is still worth something."""
    if not made:
        return Text("not locked" if unlocked else "not built", "dim")
    tests = [*chain.from_iterable(report.tests for report in made)]
    failed = [test for test in tests if test.status == "failed"]
    if failed:
        return Text(f"{len(failed)} of {len(tests)} failed", COLOURS["failed"])
    if stale:
        return Text("stale", COLOURS["stale"])
    skipped = sum(test.status == "not-run" for test in tests)
    words = f"{len(tests) - skipped} passed" + (f", {skipped} not run" if skipped else "")
    return Text(words, COLOURS["passed"])


def _kept_size(report: Report | None) -> str:
    if report is None:
        return ""
    return size(report.bytes) if report.kept else "failed"


def show_image(image: ImageDefinition, reports: Reports, stale: Stale, unlocked: Unlocked) -> None:
    """Everything about one image."""
    screen = console()
    facts = {
        image.id: f"{image.title} {image.version or NOT_LOCKED}",
        "": image.summary,
        "alone": _alone(image),
        "image": image.repository if image.repository != image.id else "",
        "homepage": image.homepage,
        "licence": image.licence,
        "terms": _terms(image.terms),
        "citation": "\n".join(image.citation),
        "topics": ", ".join(image.topics),
        "tasks": ", ".join(image.tasks),
        "keywords": ", ".join((*image.keywords, *image.edam)),
        "base image": image.base,
        "parts": ", ".join(image.parts),
        "commands": ", ".join(_commands(image, reports)),
        "programs": ", ".join(f"{app.name} ({app.command})" for app in image.gui_apps),
        "needs": _needs(image.needs),
        "waived": "\n".join(f"{each.test}: {each.path}: {each.reason}" for each in image.waivers),
        "maintainers": ", ".join(person.name for person in image.maintainers),
        "not locked": str(unlocked.get(image.id, "")),
    }
    screen.print(_grid(facts))
    if image.folder.readme:
        _show_readme(image)
    made = [report for report in reports.values() if report]
    if not made:
        screen.print(Text(pasteable(f"not built here: imagefactory build {image.selector}")))
        return
    for report in made:
        why = "; ".join(stale.get(TargetId(report.kind, image.id), ()))
        screen.print(_grid({**_facts(report), "stale": why}))
    tests = table("test", "kind", "of", "status", "time", "", wraps=["of", ""])
    for report in made:
        for test in report.tests:
            numbers = "\n".join(f"{name} = {value:g}" for name, value in test.measures.items())
            status = Text(test.status, COLOURS.get(test.status, "yellow"))
            where = " ".join(filter(None, (report.kind, test.options)))
            waived = "\n".join(f"waived: {text}" for text in test.waived)
            note = Text("\n".join(filter(None, (test.reason or numbers, waived))))
            tests.add_row(test.name, test.kind, where, status, duration(test.seconds), note)
    screen.print(tests)


def _show_readme(image: ImageDefinition) -> None:
    """As its author laid it out on a terminal, as its author wrote it elsewhere."""
    screen = console()
    if not screen.is_terminal:
        screen.print(Text(image.folder.readme), soft_wrap=True)
        return
    from rich.markdown import Markdown  # starts slowly

    screen.print(Markdown(image.folder.readme))


def _commands(image: ImageDefinition, reports: Reports) -> Sequence[str]:
    """By name, where one that was built says which programs its patterns mean."""
    known = next((report.commands for report in reports.values() if report and report.commands), ())
    return known if image.patterns and known else image.commands


def _alone(image: ImageDefinition) -> str:
    """How to name an image whose identifier means others too."""
    if image.selector == image.id:
        return ""
    return f"{image.selector}, where {image.recipe} means all images of the recipe"


def show_base(base: BaseDefinition, reports: Reports) -> None:
    """Everything about one base image."""
    screen, file = console(), base.base
    facts = {
        file.name: file.title,
        **(
            {"from": taken}
            if (taken := file.upstream or (file.disk.url if file.disk else ""))
            else {"packages of": str(file.release)}
        ),
        "and": ", ".join(file.packages),
        "elsewhere": base.published,
        "platform": base.platform,
    }
    screen.print(_grid(facts))
    made = [report for report in reports.values() if report]
    for report in made:
        screen.print(_grid(_facts(report)))
    if not made:
        screen.print(Text(pasteable(f"not made here: imagefactory build {file.name}")))


def _facts(report: Report) -> dict[str, str]:
    """What was made, in words."""
    file = f"build/{report.id}/{report.file}" if report.file else ""
    loose = report.memory if report.memory and not report.memory.together else None
    return {
        line(report.kind).title: report.reference or file or "not kept, for it failed its tests",
        "digest": report.digest,
        "input digest": report.input_digest,
        "size": size(report.bytes),
        "built": report.built,
        "engines": ", ".join(f"{name} {version}" for name, version in report.engines.items()),
        "tests' memory": loose.how if loose else "",
    }


def _grid(facts: Mapping[str, str]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, min_width=12)
    grid.add_column(overflow="fold")
    for name, value in facts.items():
        if value:
            grid.add_row(Text(name, "bold"), Text(value))
    return grid


def _terms(terms: Terms) -> str:
    """Who may have the image, in words; nothing where anybody may."""
    words = {"public": "", "accept-first": "to be accepted first", "private": "not to be published"}
    return ", ".join(filter(None, (words[terms.policy], terms.url, terms.note)))


def _needs(needs: Needs) -> str:
    """What the application needs of a machine, in words."""
    words = [f"{needs.memory / GIB:g} GiB of memory", f"{needs.disk / GIB:g} GiB of disk"]
    if needs.gpu:
        words.append(f"an NVIDIA GPU with driver {needs.gpu.driver} or newer")
    words += ["a desktop"] if needs.desktop else []
    return ", ".join(words)
