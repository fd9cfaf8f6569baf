"""Tables for people, and the same as plain values for programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from imagefactory.model.report import BaseReport, Report, TestReport
from imagefactory.redact import redact

if TYPE_CHECKING:
    from imagefactory.errors import FactoryError
    from imagefactory.model.recipe import Needs, Terms
    from imagefactory.model.spec import ImageDefinition
    from imagefactory.pipeline.result import Result
    from imagefactory.pipeline.specs import Planned, Unlocked
    from imagefactory.pipeline.stock import Stock
    from imagefactory.plan import Verdict

GIB = 1 << 30
_MOST_CHANGES = 40
WIDE = 200  # columns of a table that is not shown on a terminal
_COLOURS = {"passed": "green", "failed": "red", "nothing": "dim", "build": "cyan", "test": "cyan"}


def size(count: int) -> str:
    """Bytes as people read them, in decimal units as registries show them."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count} B"


def duration(seconds: float) -> str:
    """Seconds as people read them."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


def digest(text: str) -> str:
    """The beginning of a digest, enough to tell images apart."""
    return text.removeprefix("sha256:")[:12]


def tests(report: Report | BaseReport | None) -> str:
    """How many of its tests an image passed."""
    if not isinstance(report, Report):
        return ""
    return _counted(report.tests)


def _counted(found: Sequence[TestReport]) -> str:
    passed = sum(test.status == "passed" for test in found)
    words = f"{passed} of {len(found)} passed"
    skipped = sum(test.status == "not-run" for test in found)
    return f"{words}, {skipped} not run" if skipped else words


def show_results(results: Iterable[Result]) -> None:
    """The end of a build: what became of each image, in each of its formats."""
    results = list(results)
    for item in results:
        if item.action == "nothing":
            name = f"{item.id} (SIF)" if item.format == "sif" else item.id
            _console().print(Text(f"{name}: nothing to do, {'; '.join(item.reasons)}"))
    table = _table("image", "format", "size", "time", "digest", "tests")
    for item in results:
        took = "up to date" if item.action == "nothing" else duration(item.seconds)
        bytes_, found, words = _made(item)
        if not found:
            table.add_row(item.id, item.format, "", duration(item.seconds), "", Text("failed", "red"))
            continue
        colour = "red" if item.error else "green"
        table.add_row(item.id, item.format, size(bytes_), took, digest(found), Text(words, colour))
    console = _console()
    console.print(table)
    for item in results:
        sif = item.report.sif if isinstance(item.report, Report) and item.format == "sif" else None
        if sif and sif.file and not item.error:
            console.print(Text(f"build/{item.id}/{sif.file}"), soft_wrap=True)


def _made(item: Result) -> tuple[int, str, str]:
    """The bytes of what was made, its digest, and how its tests went; no digest where nothing was made."""
    report = item.report
    if report is None:
        return 0, "", ""
    if item.format == "oci" or not isinstance(report, Report):
        return report.bytes, report.image_digest, tests(report) or "base image"
    if report.sif is None:
        return 0, "", ""
    return report.sif.bytes, report.sif.sha256, _counted(report.sif.tests)


def show_unlocked(found: Iterable[tuple[str, str]]) -> None:
    """What is not locked, and why."""
    found = list(found)
    for name, reason in found:
        _console().print(Text(f"{name}: {reason}"), soft_wrap=True)
    if not found:
        _console().print("all locked")


def show_locks(results: Iterable[Result]) -> None:
    """What became of each lock: its changes, one a line."""
    console = _console()
    for item in results:
        if item.error:
            continue
        if item.action == "nothing":
            console.print(Text(f"{item.id}: locked, nothing changed"))
            continue
        console.print(Text(f"{item.id}: {len(item.reasons)} changes" if len(item.reasons) > 1 else item.id))
        for change in item.reasons[:_MOST_CHANGES]:
            console.print(Text(f"  {change}"), soft_wrap=True)
        if len(item.reasons) > _MOST_CHANGES:
            console.print(Text(f"  and {len(item.reasons) - _MOST_CHANGES} more: see git diff"))


def show_fetched(results: Iterable[Result]) -> None:
    """What was fetched for each image."""
    for item in results:
        if not item.error:
            words = "all in the store" if item.action == "nothing" else f"fetched {item.reasons[0]}"
            _console().print(Text(f"{item.id}: {words}"))


def show_stock(found: Stock) -> None:
    """What the store holds."""
    table = _table("sha256", "size", "last used", "input", "for")
    for stored, name, users in found.files:
        day = datetime.fromtimestamp(stored.used, UTC).strftime("%Y-%m-%d")
        shown = ", ".join(users[:3]) + (f" and {len(users) - 3} more" if len(users) > 3 else "")
        table.add_row(stored.sha256[:12], size(stored.bytes), day, name, shown)
    console = _console()
    console.print(table)
    total = sum(stored.bytes for stored, _, _ in found.files)
    console.print(Text(f"{found.folder}: {len(found.files)} files, {size(total)}"), soft_wrap=True)


def stock(found: Stock) -> dict[str, Any]:
    """What the store holds, for a program."""
    return {
        "folder": str(found.folder),
        "files": [
            {"sha256": stored.sha256, "bytes": stored.bytes, "used": stored.used, "name": name, "for": users}
            for stored, name, users in found.files
        ],
    }


def show_plan(planned: Iterable[tuple[Planned | Unlocked, Verdict]]) -> None:
    """What would be done, and why."""
    console = _console()
    for item, sif in planned:
        lines = [(item.image.id, item.verdict)]
        if item.verdict.action != "build":  # which the SIF file follows
            lines.append((f"{item.image.id} (SIF)", sif))
        for name, verdict in lines:
            verb = {"build": "build", "test": "test", "nothing": "up to date"}[verdict.action]
            text = Text(f"{name}: ")
            text.append(verb, _COLOURS[verdict.action])
            text.append(f", {', '.join(verdict.reasons)}")
            console.print(text, soft_wrap=True)


def show_list(images: Iterable[ImageDefinition], reports: Mapping[str, Report | None]) -> None:
    """All images, and how each was last built."""
    table = _table("image", "version", "title", "built", "size", "SIF", "tests")
    for image in images:
        report = reports[image.id]
        built = report.built[:10] if report else "no"
        colour = _COLOURS[report.status] if report else "dim"
        table.add_row(
            image.id,
            image.version,
            image.title,
            built,
            size(report.bytes) if report else "",
            size(report.sif.bytes) if report and report.sif and report.sif.file else "",
            Text(tests(report), colour),
        )
    _console().print(table)


def show_image(image: ImageDefinition, report: Report | None) -> None:
    """Everything about one image."""
    console = _console()
    facts = {
        image.id: f"{image.title} {image.version}",
        "": image.summary,
        "homepage": image.homepage,
        "licence": image.licence,
        "terms": _terms(image.terms),
        "citation": "\n".join(image.citation),
        "base image": image.base,
        "commands": ", ".join(image.commands),
        "needs": _needs(image.needs),
        "maintainers": ", ".join(person.name for person in image.maintainers),
    }
    if report:
        facts |= {
            "image": report.reference or "not kept, for it failed its tests",
            "digest": report.image_digest,
            "input digest": report.input_digest,
            "size": size(report.bytes),
            "built": report.built,
            "SIF file": _sif(image, report),
            "engines": ", ".join(f"{name} {version}" for name, version in report.engines.items()),
        }
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in facts.items():
        if value:
            grid.add_row(Text(name, "bold"), Text(value))
    console.print(grid)
    if not report:
        console.print(Text(f"not built here: imagefactory build {image.id}"))
        return
    table = _table("test", "kind", "format", "status", "time", "")
    for test in (*report.tests, *(report.sif.tests if report.sif else ())):
        found = "\n".join(f"{name} = {value:g}" for name, value in test.measures.items())
        note = test.reason or found
        status = Text(test.status, _COLOURS.get(test.status, "yellow"))
        where = " ".join(filter(None, (test.format, test.options)))
        table.add_row(test.name, test.kind, where, status, duration(test.seconds), Text(note))
    console.print(table)


def summary(image: ImageDefinition, report: Report | None) -> dict[str, Any]:
    """One line of ``list``, for a program."""
    return {
        "id": image.id,
        "recipe": image.recipe,
        "variant": image.variant,
        "title": image.title,
        "version": image.version,
        "licence": image.licence,
        "report": report.model_dump(mode="json", exclude={"ingredients"}) if report else None,
    }


def details(image: ImageDefinition, report: Report | None) -> dict[str, Any]:
    """All of ``show``, for a program."""
    return {
        **summary(image, report),
        "summary": image.summary,
        "homepage": image.homepage,
        "citation": list(image.citation),
        "base": image.base,
        "commands": list(image.commands),
        "environment": dict(image.environment),
        "needs": image.needs.model_dump(mode="json"),
        "terms": image.terms.model_dump(mode="json"),
        "report": report.model_dump(mode="json") if report else None,
    }


def planned(item: Planned | Unlocked, sif: Verdict) -> dict[str, Any]:
    """One line of ``plan``, for a program."""
    return {
        "id": item.image.id,
        "action": item.verdict.action,
        "reasons": list(item.verdict.reasons),
        "input_digest": item.input_digest,
        "sif": {"action": sif.action, "reasons": list(sif.reasons)},
    }


def result(item: Result) -> dict[str, Any]:
    """What became of one image, for a program."""
    return {
        "id": item.id,
        "format": item.format,
        "action": item.action,
        "reasons": list(item.reasons),
        "seconds": round(item.seconds, 3),
        "error": _error(item.error),
        "report": item.report.model_dump(mode="json") if item.report else None,
    }


def _sif(image: ImageDefinition, report: Report) -> str:
    if report.sif is None:
        return ""
    kept = f"build/{image.id}/{report.sif.file}, {size(report.sif.bytes)}, sha256 {report.sif.sha256}"
    return kept if report.sif.file else "not kept, for it failed its tests"


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


def _error(error: FactoryError | None) -> dict[str, Any] | None:
    if error is None:
        return None
    return {
        "message": redact(error.message),
        "hint": redact(error.hint),
        "exit_status": error.exit_status,
    }


def _console() -> Console:
    """As wide as the terminal, and wide enough for whole lines elsewhere."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDE)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, overflow="fold")
    return table
