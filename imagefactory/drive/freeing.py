"""What nobody needs any more: say what there is of it, and free it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from imagefactory.drive.session import Session
from imagefactory.errors import BuildFailed, FactoryError
from imagefactory.model.report import Report
from imagefactory.model.target import TargetId
from imagefactory.system.files import remove_tree, size_of
from imagefactory.system.log import Log
from imagefactory.system.records import BUNDLES, Home, Record, homes
from imagefactory.targets.kind import Held, Kind
from imagefactory.targets.register import called


@dataclass(frozen=True, slots=True)
class Item:
    """Something that can be freed: whose it is, what it is, why nobody needs it, and its bytes of disk.

    It is what a kind holds, or else a ``path``.
    """

    name: str
    what: str
    why: str
    bytes: int
    record: Record | None = None
    kind: str = ""
    held: Report | None = None
    path: Path | None = None


def give_up(
    session: Session, kind: Kind, log: Log, record: Record, before: Report | None, now: Report
) -> None:
    """Remove what was there of a target before and is not any more, for a newer one took its place."""
    stays = {(each.reference, each.file) for each in now.held()}
    for held in before.held() if before else ():
        replaced = held != before.candidate if before else False
        if (held.reference, held.file) in stays or (replaced and session.site.settings.keep_replaced):
            continue
        gone = before.of(held) if before else None
        assert gone
        try:
            kind.remove(Held(gone, record))
        except FactoryError as error:  # somebody uses it: that is no failure of the new one
            log.line(f"{held.reference or held.file} stays: {error.message}")


def made_of(session: Session, names: Collection[str]) -> list[Item]:
    """All that was made of images or base images, and what is kept of making it."""
    wanted = {session.home(name).folder for name in names}
    return [
        item
        for home in homes(session.workspace)
        if home.folder in wanted
        for item in _all_of(session, home, "you asked for it")
    ]


def rubbish(session: Session, known: Collection[str] | None) -> list[Item]:
    """What nobody needs: candidates that failed, what lies beside what is kept, and all of images that no
    recipe makes. ``known`` names those that one does; None where that can't be told.
    """
    items: list[Item] = []
    for home in homes(session.workspace):
        name = home.folder.name
        if name == BUNDLES or name.startswith("."):
            continue
        if known is not None and name not in known:
            items += _all_of(session, home, "no recipe makes it any more")
            continue
        for record, report in _reports(home):
            if report.candidate:
                items += _item(session, home, record, report.of(report.candidate), "it failed its tests")
        items += _strays(home)
    return items


def free(session: Session, item: Item) -> None:
    """Free one of them. Raises BuildFailed where it is in use, or being made."""
    desk = item.record or Home(session.home(item.name).folder)
    with desk.if_free() as mine:
        if not mine:
            raise BuildFailed(f"{item.what} is being made or used now", hint="wait until that has ended")
        if item.held and item.record:
            session.kinds[item.kind].remove(Held(item.held, item.record))
            _forget(item.record, item.held)
    if item.path:
        remove_tree(item.path)


def _forget(record: Record, gone: Report) -> None:
    """Have the report say no longer that it is there; without anything, there is no report."""
    report = record.read()
    if report is None:
        return
    place = (gone.reference, gone.file)
    left = [each for each in report.held() if (each.reference, each.file) != place]
    if report.kept and (report.reference, report.file) == place:
        record.report_file.unlink()
    elif report.candidate and report.candidate not in left:
        record.write(report.model_copy(update={"candidate": None}), made=False)
    elif report.earlier and report.earlier not in left:
        record.write(report.model_copy(update={"earlier": None}), made=False)


def _all_of(session: Session, home: Home, why: str) -> Iterator[Item]:
    """What is made of others goes before them; the folder is last, with all that is written there."""
    items: list[Item] = []
    for record, report in _reports(home):
        for held in report.held():
            items += _item(session, home, record, report.of(held), why)
    order = [*session.kinds]
    yield from sorted(items, key=lambda item: -order.index(item.kind))
    files = sum(item.bytes for item in items if item.held and item.held.file)
    rest = max(size_of(home.folder) - files, 0)
    yield Item(
        home.folder.name, f"build/{home.folder.name}/, its reports and logs", why, rest, path=home.folder
    )


def _item(session: Session, home: Home, record: Record, held: Report | None, why: str) -> Iterator[Item]:
    if held is None or held.kind not in session.kinds:
        return
    place = held.reference or f"build/{home.folder.name}/{held.file}"
    freed = session.kinds[held.kind].frees(Held(held, record))
    what = f"{called(TargetId(held.kind, held.id)).removesuffix(held.id)}{place}"
    yield Item(home.folder.name, what, why, freed, record, held.kind, held)


def _strays(home: Home) -> Iterator[Item]:
    """Files beside the reports that none of them names, such as what a newer build replaced."""
    held = [each for _, report in _reports(home) for each in (*report.held(), report.raw)]
    named = {Path(each.file).parts[0] for each in held if each and each.file}
    ours = {"context", "lock", "lock.log", "fetch.log", "errors.log", "scratch", *named}
    for path in sorted(home.folder.iterdir()):
        if path.name in ours or path.name.startswith(".") or (path / "lock").exists():
            continue
        shown = f"build/{home.folder.name}/{path.name}"
        yield Item(home.folder.name, shown, "it was replaced", size_of(path), path=path)


def _reports(home: Home) -> Iterator[tuple[Record, Report]]:
    for record in home.records():
        report = record.read()
        if report:
            yield record, report
