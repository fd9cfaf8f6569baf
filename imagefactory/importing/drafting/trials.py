"""Tests of foreign recipes to smoke tests, which have no network and an empty folder to work in."""

from __future__ import annotations

import re

from imagefactory.importing.drafting.draft import DONE, NOT, PART, Draft, FileDraft, TestDraft
from imagefactory.importing.drafting.network import asks_network
from imagefactory.importing.fits import fits, slug, unused
from imagefactory.importing.steps import ForeignTest
from imagefactory.model.fields import Argument, Pattern, RelativePath

_TAKEN = ("tests",)


def add_trial(draft: Draft, step: ForeignTest) -> tuple[str, str]:
    """One test, or a note of why not. Gives back what became of it."""
    script = step.script.strip("\n")
    name = unused(slug(step.name, "test"), {*draft.tests, *_TAKEN})
    if not script or step.why_not:
        why = step.why_not or "it has no script"
        draft.test_notes.append(f"Not translated: {step.name} ({step.place}): {why}.")
        draft.test_notes += [f"    {line}" for line in script.splitlines()]
        return NOT, why
    if why := asks_network((), script, draft.files):
        draft.test_notes.append(
            f"Not translated: {step.name} ({step.place}): {why.replace('install.sh', 'a test')}."
        )
        draft.test_notes += [f"    {line}" for line in script.splitlines()]
        return NOT, why.replace("install.sh", "a test")
    shell = "bash" if re.match(r"#!\S*\s*(\S*/)?bash|#!.*\bbash", script) or "[[" in script else "sh"
    command: tuple[str, ...] = (shell, "-ec", script)
    if not fits(Argument, script) or "${" in script:
        file = f"{name}.sh"
        draft.test_files[file] = FileDraft(f"{script}\n".encode("utf-8", "replace"))
        command = (shell, "-e", f"/tests/{file}")
    output = tuple(each for text in step.expected if (each := re.escape(text).replace("\\ ", " ")))
    good = tuple(each for each in output if fits(Pattern, each) and "${" not in each)
    files = tuple(file for file in step.files if fits(RelativePath, file))
    draft.tests[name] = TestDraft(command, good, step.status, files, step.full)
    if len(good) < len(output) or len(files) < len(step.files):
        return PART, "not all that it expects could be taken"
    return DONE, ""
