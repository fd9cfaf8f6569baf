"""The commands that look: list, show, plan."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imagefactory.cli import words
from imagefactory.cli.naming import last_reports, readable_images, selected, stated_images
from imagefactory.cli.runs import print_json, unwatched
from imagefactory.errors import BadFiles, Problem
from imagefactory.system.workspace import find_workspace

if TYPE_CHECKING:
    from imagefactory.model.spec import ImageDefinition


@click.command("list")
@words.names
@words.as_json
@click.pass_obj
def list_(root: Path, names: tuple[str, ...], as_json: bool) -> None:
    """List images, and how each was last built; stale is what a build would make or test again.

    Of what is not locked, it says why, and which upstreams must be reached to lock it.
    """
    from imagefactory.cli import show_targets, values
    from imagefactory.drive.planning import stale_targets
    from imagefactory.drive.unlocked import unlocked_images
    from imagefactory.plan import every_target

    workspace = find_workspace(root)
    session = unwatched(workspace)
    readable, problems = readable_images(workspace, names)
    images, wrong = stated_images(session, readable)
    reports = {image.id: last_reports(workspace, every_target(image)) for image in images}
    stale, unlocked = stale_targets(session, images), unlocked_images(session, images)
    if as_json:
        print_json([values.summary(image, reports[image.id], stale, unlocked) for image in images])
    else:
        show_targets.show_list(images, reports, stale, unlocked)
    if problems or wrong:
        raise BadFiles([*problems, *wrong])


@click.command()
@words.name
@words.as_json
@click.pass_obj
def show(root: Path, name: str, as_json: bool) -> None:
    """Show one image or base image: what it is, and its last build and tests."""
    from imagefactory.cli import show_targets, values
    from imagefactory.definitions.bases import load_base
    from imagefactory.drive.planning import stale_targets
    from imagefactory.drive.unlocked import unlocked_images
    from imagefactory.plan import every_target, targets_of_base

    workspace = find_workspace(root)
    selection = selected(workspace, (name,))
    bases = [
        (load_base(workspace, base), last_reports(workspace, targets_of_base(base)))
        for base in selection.bases
    ]
    session = unwatched(workspace)
    stated = [session.resolver.stated(image) for image in selection.images]
    images = [(image, last_reports(workspace, every_target(image))) for image in stated]
    stale, unlocked = stale_targets(session, stated), unlocked_images(session, stated)
    if as_json:
        print_json(
            [
                *(values.base_details(*each) for each in bases),
                *(values.details(*each, stale, unlocked) for each in images),
            ]
        )
        return
    for base, reports in bases:
        show_targets.show_base(base, reports)
    for image, reports in images:
        show_targets.show_image(image, reports, stale, unlocked)


@click.command()
@words.names
@words.as_json
@click.pass_obj
def plan(root: Path, names: tuple[str, ...], as_json: bool) -> None:
    """Say what a build would do, and why. Builds nothing. NAME may be a base image too."""
    from imagefactory.cli import show_targets, values
    from imagefactory.drive.planning import plan_targets

    workspace = find_workspace(root)
    session = unwatched(workspace)
    bases: tuple[str, ...] = ()
    problems: Sequence[Problem] = ()
    if names:
        selection = selected(workspace, names)
        images: Sequence[ImageDefinition] = selection.images
        bases = selection.bases
    else:
        images, problems = readable_images(workspace, names)
    plans, wrong = plan_targets(session, images, bases)
    if as_json:
        print_json([values.planned(item) for item in plans])
    else:
        # What is made of a base image is not in a plan of it alone.
        alone = bool(bases) and not images
        moved = alone and any(item.verdict.action == "build" and session.last(item.id) for item in plans)
        show_targets.show_plan(plans, moved=moved)
    if problems or wrong:
        raise BadFiles([*problems, *wrong])
