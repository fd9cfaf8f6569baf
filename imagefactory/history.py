"""Where a file or folder stands in git: the commit that last changed it, and when."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from imagefactory.errors import BadInput
from imagefactory.run import run, which

NO_HISTORY = "unknown"
BUNDLE_FILE = "bundle.json"
LATEST = 4_294_967_295  # 2106, the last that an ext4 or gzip header of 32 bits can hold
EARLIEST = 315_532_800  # 1980-01-01, the earliest time that zip archives can hold


@dataclass(frozen=True, slots=True)
class Standing:
    """``revision``: a commit, with ``-dirty`` if changed since. ``epoch``: its time, in Unix seconds."""

    revision: str
    epoch: int


def standing(folder: Path, *names: str) -> Standing:
    """The last commit that changed any of those files and folders in ``folder``.

    In the checkout of a bundle, what git told where the bundle was made. Without git or commits, and in a
    shallow clone (which cannot know that commit), the revision is ``unknown`` and the time fixed, so that
    builds stay repeatable. SOURCE_DATE_EPOCH in the environment sets the time in any case (https://reproducible-builds.org/specs/source-date-epoch/).
    """
    override = _override()
    bundled = _bundled(folder / names[0]) if names else None
    if bundled:
        return bundled if override is None else Standing(bundled.revision, override)
    logged = changed = ""
    if which("git") and not (_top(folder) / ".git" / "shallow").exists():
        logged = _git(folder, "log", "-1", "--format=%H %ct", "--", *names)
        changed = _git(folder, "status", "--porcelain", "--untracked-files=normal", "--", *names)
    if not logged:
        return Standing(NO_HISTORY, EARLIEST if override is None else override)
    commit, seconds = logged.split()
    return Standing(commit + ("-dirty" if changed else ""), int(seconds) if override is None else override)


def _bundled(file: Path) -> Standing | None:
    top = next((f for f in file.parents if (f / BUNDLE_FILE).is_file()), None)
    if top is None or (top / ".git").exists():
        return None
    try:
        known = json.loads((top / BUNDLE_FILE).read_bytes())["standing"]
        found = known[str(file.relative_to(top))]
        return Standing(str(found["revision"]), int(found["epoch"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _git(folder: Path, *words: str) -> str:
    # The checkout may be another user's (root builds in it); its configuration must not run programs.
    settings = (f"safe.directory={_top(folder)}", "core.fsmonitor=false", "log.showSignature=false")
    options = [word for setting in settings for word in ("-c", setting)]
    done = run(["git", *options, *words], cwd=folder)
    return done.stdout.strip() if done.status == 0 else ""


def _top(folder: Path) -> Path:
    return next((f for f in (folder, *folder.parents) if (f / ".git").exists()), folder)


def _override() -> int | None:
    text = os.environ.get("SOURCE_DATE_EPOCH")
    if not text:
        return None
    if not (text.isascii() and text.isdecimal()) or int(text) > LATEST:
        raise BadInput(f"SOURCE_DATE_EPOCH is '{text[:60]}': expected seconds since 1970")
    return int(text)
