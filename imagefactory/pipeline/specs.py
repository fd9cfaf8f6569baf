"""Definitions to specs, and specs to verdicts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from imagefactory.backends.protocol import Backend
from imagefactory.bases import load_base
from imagefactory.model.spec import (
    BaseDefinition,
    BuildContext,
    BuiltBase,
    ImageDefinition,
    ImageSpec,
)
from imagefactory.plan import Verdict, judge, judge_base, made_base
from imagefactory.records import record_of, record_of_base
from imagefactory.run import Stop
from imagefactory.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Planned:
    """An image with its rendered context and what is to be done about it."""

    image: ImageDefinition
    spec: ImageSpec
    context: BuildContext
    verdict: Verdict


def make_spec(
    workspace: Workspace, image: ImageDefinition, definition: BaseDefinition, base: BuiltBase
) -> ImageSpec:
    """Everything that decides the image, in one frozen value."""
    return ImageSpec(
        image=image,
        base=base,
        platform=definition.platform,
        epoch=max(image.folder.epoch, definition.epoch),
        source=workspace.source or image.homepage,
    )


def unmade(definition: BaseDefinition) -> BuiltBase:
    """A base image that was not made here: enough to render, not to build."""
    return BuiltBase(definition.base.name, "", "", definition.base.published, definition.epoch)


def plan_context(workspace: Workspace, image: ImageDefinition, backend: Backend) -> BuildContext:
    """The rendered files of one image, whether or not its base image was made here."""
    definition = load_base(workspace, image.base)
    base = made_base(definition, record_of_base(workspace, image.base)) or unmade(definition)
    return backend.render(make_spec(workspace, image, definition, base))


def debug_image(workspace: Workspace, image: ImageDefinition, backend: Backend) -> None:
    """Open a shell, on the caller's terminal, in the step where the last build broke."""
    record = record_of(workspace, image.id)
    with record.locked(lambda: None, Stop()):
        backend.debug(plan_image(workspace, image, backend).spec, record.context)


def plan_images(workspace: Workspace, images: Iterable[ImageDefinition], backend: Backend) -> list[Planned]:
    """A verdict for each image; nothing is built and nothing is written."""
    return [plan_image(workspace, image, backend) for image in images]


def plan_image(workspace: Workspace, image: ImageDefinition, backend: Backend) -> Planned:
    """The verdict for one image. An unmade base image is reason enough to build."""
    definition = load_base(workspace, image.base)
    base_record = record_of_base(workspace, image.base)
    base = made_base(definition, base_record)
    spec = make_spec(workspace, image, definition, base or unmade(definition))
    context = backend.render(spec)
    if base is None:
        reason = judge_base(definition, base_record, base_record.read_base())
        return Planned(image, spec, context, Verdict("build", (reason,)))
    report = record_of(workspace, image.id).read()
    return Planned(image, spec, context, judge(image, context, report, backend.find))
