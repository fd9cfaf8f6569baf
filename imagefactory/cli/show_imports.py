"""What came of an import: on the screen, and for programs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from rich.text import Text

from imagefactory.cli.calling import pasteable
from imagefactory.cli.text import console, table
from imagefactory.importing import DONE, NOT, OUTCOMES, PART, Remark

if TYPE_CHECKING:
    from imagefactory.importing import Imported
    from imagefactory.system.workspace import Workspace


def show_import(workspace: Workspace, imported: Imported) -> None:
    """What was not translated whole, why, and a table by kind of instruction."""
    screen = console()
    for remark in _notable(imported):
        screen.print(Text(f"{remark.place}: {remark.kind}: {_word(remark)}{remark.why}"), soft_wrap=True)
    grid = table("instruction", *OUTCOMES, wraps=["instruction"])
    for kind, counts in imported.counts().items():
        grid.add_row(Text(kind), *(str(counts[outcome] or "") for outcome in OUTCOMES))
    totals = {outcome: sum(counts[outcome] for counts in imported.counts().values()) for outcome in OUTCOMES}
    grid.add_row("all", *(str(totals[outcome]) for outcome in OUTCOMES), style="bold")
    screen.print(grid)
    screen.print(Text(f"wrote {workspace.shown(imported.folder)}/; look for FILL IN there, then run"))
    screen.print(Text(pasteable(f"  imagefactory build {imported.name}")), soft_wrap=True)


def as_values(workspace: Workspace, imported: Imported) -> dict[str, Any]:
    """The same as values."""
    return {
        "name": imported.name,
        "path": workspace.shown(imported.folder),
        "base": imported.base,
        "format": imported.format,
        "instructions": [{"kind": kind, **counts} for kind, counts in imported.counts().items()],
        "remarks": [
            {"kind": each.kind, "place": each.place, "outcome": each.outcome, "why": each.why}
            for each in _notable(imported)
        ],
    }


def _notable(imported: Imported) -> list[Remark]:
    return sorted((remark for remark in imported.remarks if remark.outcome != DONE), key=_where)


def _where(remark: Remark) -> tuple[str, int]:
    """The file and the line of a remark, as they are sorted."""
    found = re.fullmatch(r"(.*?)(?:line|instruction) (\d+)", remark.place)
    return (found[1], int(found[2])) if found else (remark.place, 0)


def _word(remark: Remark) -> str:
    return {PART: "in part: ", NOT: "not translated: "}[remark.outcome]
