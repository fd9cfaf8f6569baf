"""What tables show, as plain values for programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagefactory.drive.planning import Planned
    from imagefactory.drive.result import Result
    from imagefactory.drive.stock import Stock
    from imagefactory.drive.unlocked import NotLockedYet
    from imagefactory.errors import FactoryError
    from imagefactory.model.report import Report
    from imagefactory.model.spec import BaseDefinition, ImageDefinition
    from imagefactory.model.target import TargetId

Reports = Mapping[str, "Report | None"]
Stale = Mapping["TargetId", tuple[str, ...]]
Unlocked = Mapping[str, "NotLockedYet"]


def summary(image: ImageDefinition, reports: Reports, stale: Stale, unlocked: Unlocked) -> dict[str, Any]:
    """One line of ``list``."""
    why = unlocked.get(image.id)
    return {
        "id": image.id,
        "recipe": image.recipe,
        "variant": image.variant,
        "selector": image.selector,
        "title": image.title,
        "image": image.repository,
        "version": image.version or None,
        "licence": image.licence,
        "unlocked": {"reason": why.reason, "needs": list(why.needs)} if why else None,
        "targets": _targets(reports, {"ingredients"}, _reasons(image, stale)),
    }


def details(image: ImageDefinition, reports: Reports, stale: Stale, unlocked: Unlocked) -> dict[str, Any]:
    """All of ``show``."""
    return {
        **summary(image, reports, stale, unlocked),
        "summary": image.summary,
        "readme": image.folder.readme or None,
        "homepage": image.homepage,
        "citation": list(image.citation),
        "topics": list(image.topics),
        "tasks": list(image.tasks),
        "keywords": list(image.keywords),
        "edam": list(image.edam),
        "maintainers": [person.model_dump() for person in image.maintainers],
        "base": image.base,
        "parts": list(image.parts),
        "values": dict(image.values),
        "commands": list(image.commands),
        "gui_apps": [app.model_dump() for app in image.gui_apps],
        "environment": dict(image.environment),
        "needs": image.needs.model_dump(mode="json"),
        "terms": image.terms.model_dump(mode="json"),
        "waivers": [waiver.model_dump() for waiver in image.waivers],
        "test_data": {name: data.model_dump(mode="json") for name, data in image.test_data.items()},
        "targets": _targets(reports, set(), _reasons(image, stale)),
    }


def base_details(base: BaseDefinition, reports: Reports) -> dict[str, Any]:
    """All of ``show`` for a base image."""
    return {
        "id": base.base.name,
        **base.base.model_dump(mode="json", exclude={"name"}, by_alias=True, exclude_none=True),
        "published": base.published,
        "platform": base.platform,
        "targets": _targets(reports, set(), {}),
    }


def _reasons(image: ImageDefinition, stale: Stale) -> dict[str, tuple[str, ...]]:
    return {id.kind: reasons for id, reasons in stale.items() if id.name == image.id}


def _targets(
    reports: Reports, left_out: set[str], stale: Mapping[str, tuple[str, ...]]
) -> list[dict[str, Any]]:
    return [
        {
            "kind": kind,
            "stale": list(stale.get(kind, ())),
            "report": report.model_dump(mode="json", exclude=left_out) if report else None,
        }
        for kind, report in reports.items()
    ]


def planned(item: Planned) -> dict[str, Any]:
    """One line of ``plan``."""
    return {
        "id": item.id.name,
        "kind": item.id.kind,
        "action": item.verdict.action,
        "reasons": list(item.verdict.reasons),
        "warnings": list(item.warnings),
        "input_digest": item.input_digest,
    }


def result(item: Result) -> dict[str, Any]:
    """What became of one target, or of an image's inputs, which are of no kind."""
    return {
        "id": item.name,
        "kind": item.kind or None,
        "action": item.action,
        "reasons": list(item.reasons),
        "warnings": list(item.warnings),
        "seconds": round(item.seconds, 3),
        "error": _error(item.error),
        "report": item.report.model_dump(mode="json") if item.report else None,
    }


def stock(stock: Stock) -> dict[str, Any]:
    """What the store holds."""
    return {
        "folder": str(stock.folder),
        "files": [
            {"sha256": stored.sha256, "bytes": stored.bytes, "used": stored.used, "name": name, "for": users}
            for stored, name, users in stock.files
        ],
    }


def _error(error: FactoryError | None) -> dict[str, Any] | None:
    if error is None:
        return None
    return {
        "message": error.message,
        "hint": error.hint,
        "exit_status": error.exit_status,
    }
