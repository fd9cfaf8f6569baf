"""Where a file or folder stands in git: the commit that last changed it, and when."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagefactory.errors import BadInput
from imagefactory.system.processes import run, which

NO_HISTORY = "unknown"
BUNDLE_FILE = "bundle.json"
LATEST = 4_294_967_295  # 2106, the last that an ext4 or gzip header of 32 bits can hold
FEW = 8  # places, for which git is asked one by one
_STATUS = ("status", "--porcelain", "--untracked-files=normal")
EARLIEST = 315_532_800  # 1980-01-01, the earliest time that zip archives can hold


@dataclass(frozen=True, slots=True)
class Standing:
    """``revision``: a commit, with ``-dirty`` if changed since. ``epoch``: its time, in Unix seconds."""

    revision: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Place:
    """Files and folders whose history is one: ``names`` in ``folder``."""

    folder: Path
    names: tuple[str, ...] = ()


def standing(folder: Path, *names: str) -> Standing:
    """The last commit that changed any of those files and folders in ``folder``; see ``standings``."""
    return standings([Place(folder, names)])[0]


def standings(places: Sequence[Place]) -> list[Standing]:
    """For each place, the last commit that changed anything there.

    In the checkout of a bundle, what git told where the bundle was made. Without git or commits, and in a
    shallow clone (which cannot know that commit), the revision is ``unknown`` and the time fixed, so that
    builds stay repeatable. SOURCE_DATE_EPOCH in the environment sets the time in any case (https://reproducible-builds.org/specs/source-date-epoch/).
    """
    override = _override()
    answers: dict[Place, Standing] = {}
    asked: dict[Path, list[Place]] = {}
    for place in dict.fromkeys(places):
        bundled = _bundled(place.folder / place.names[0]) if place.names else None
        if bundled:
            answers[place] = bundled
        else:
            asked.setdefault(_top(place.folder), []).append(place)
    for top, there in asked.items():
        answers |= _ask_git(top, there)
    if override is not None:
        answers = {place: Standing(known.revision, override) for place, known in answers.items()}
    return [answers[place] for place in places]


def _ask_git(top: Path, places: list[Place]) -> dict[Place, Standing]:
    unknown = dict.fromkeys(places, Standing(NO_HISTORY, EARLIEST))
    if not which("git") or (top / ".git" / "shallow").exists():
        return unknown
    if len(places) <= FEW:
        logged = {place: _last_commit(place) for place in places}
        changed = {place: bool(_git(place.folder, *_STATUS, "--", *place.names)) for place in places}
    else:
        logged, changed = _last_commits(top, places), _changed(top, places)
    known = {place: commit.split() for place, commit in logged.items() if commit}
    return unknown | {
        place: Standing(revision + ("-dirty" if changed[place] else ""), int(seconds))
        for place, (revision, seconds) in known.items()
    }


def _last_commit(place: Place) -> str:
    return _git(place.folder, "log", "-1", "--format=%H %ct", "--", *place.names)


def _last_commits(top: Path, places: list[Place]) -> dict[Place, str]:
    """As ``_last_commit`` for each: read once, from the newest on, as far as history has no branches."""
    owners = _owners(top, places)
    wanted = set(places)
    commits: dict[Place, str] = {}
    for limit in (["-n", "1000"], []):
        if len(wanted) <= FEW:
            break
        log = _git(top, "log", "--format=%x01%H %ct %P", "--name-only", "--no-renames", "-z", *limit)
        for entry in log.split("\x01")[1:]:
            head, *names = entry.split("\0")
            commit, seconds, *parents = head.split()
            if len(parents) > 1 or not wanted:
                break
            touched = {owner for name in names for owner in _owners_of(name.lstrip("\n"), owners)} & wanted
            commits |= dict.fromkeys(touched, f"{commit} {seconds}")
            wanted -= touched
        else:
            continue
        break
    return commits | {place: _last_commit(place) for place in wanted}


def _changed(top: Path, places: list[Place]) -> dict[Place, bool]:
    owners = _owners(top, places)
    folders = sorted({str(place.folder.relative_to(top)) for place in places})
    changed: set[Place] = set()
    for entry in _git(top, *_STATUS, "--no-renames", "-z", "--", *folders).split("\0"):
        path = entry[3:]
        if path.endswith("/"):  # a folder that git knows nothing of
            changed |= {place for name, place in owners.items() if name.startswith(path)}
        changed |= set(_owners_of(path, owners))
    return {place: place in changed for place in places}


def _owners(top: Path, places: list[Place]) -> dict[str, Place]:
    """By path from the top: whose it is."""
    return {str((p.folder / name).relative_to(top)): p for p in places for name in p.names or (".",)}


def _owners_of(path: str, owners: Mapping[str, Place]) -> Iterator[Place]:
    while path:
        if path in owners:
            yield owners[path]
        path = path.rpartition("/")[0]


def _bundled(file: Path) -> Standing | None:
    top = next((f for f in file.parents if (f / BUNDLE_FILE).is_file()), None)
    if top is None or (top / ".git").exists():
        return None
    try:
        known = json.loads((top / BUNDLE_FILE).read_bytes())["standing"]
        entry = known[str(file.relative_to(top))]
        return Standing(str(entry["revision"]), int(entry["epoch"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _git(folder: Path, *words: str) -> str:
    # The checkout may be another user's (root builds in it); its configuration must not run programs.
    settings = (f"safe.directory={_top(folder)}", "core.fsmonitor=false", "log.showSignature=false")
    options = [word for setting in settings for word in ("-c", setting)]
    done = run(["git", *options, *words], cwd=folder)
    return done.stdout.strip("\n") if done.status == 0 else ""


def _top(folder: Path) -> Path:
    return next((f for f in (folder, *folder.parents) if (f / ".git").exists()), folder)


def _override() -> int | None:
    text = os.environ.get("SOURCE_DATE_EPOCH")
    if not text:
        return None
    if not (text.isascii() and text.isdecimal()) or int(text) > LATEST:
        raise BadInput(f"SOURCE_DATE_EPOCH is '{text[:60]}': expected seconds since 1970")
    return int(text)
