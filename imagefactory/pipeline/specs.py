"""Definitions to specs, and specs to verdicts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from imagefactory.backends.protocol import Backend, Converter
from imagefactory.bases import load_base
from imagefactory.errors import NotLocked
from imagefactory.model.lock import Lock
from imagefactory.model.spec import (
    BaseDefinition,
    BuildContext,
    BuiltBase,
    File,
    ImageDefinition,
    ImageSpec,
)
from imagefactory.pipeline.session import Session
from imagefactory.plan import Verdict, judge, judge_base, judge_sif, made_base
from imagefactory.plan.locks import base_lock_state, image_lock_state
from imagefactory.records import record_of, record_of_base
from imagefactory.run import Stop
from imagefactory.site import Site
from imagefactory.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Planned:
    """An image that is locked, with its rendered context and what is to be done about it."""

    image: ImageDefinition
    spec: ImageSpec
    context: BuildContext
    verdict: Verdict

    @property
    def input_digest(self) -> str | None:
        return self.context.input_digest


@dataclass(frozen=True, slots=True)
class Unlocked:
    """An image of which nothing can be said yet but that it must be locked and built."""

    image: ImageDefinition
    verdict: Verdict
    input_digest: str | None = None


def make_spec(
    workspace: Workspace,
    image: ImageDefinition,
    definition: BaseDefinition,
    base: BuiltBase,
    lock: Lock,
    base_lock: Lock,
) -> ImageSpec:
    """Everything that decides the image, in one frozen value."""
    return ImageSpec(
        image=image,
        base=base,
        lock=lock,
        base_lock=base_lock,
        platform=definition.platform,
        epoch=max(image.folder.epoch, definition.epoch),
        source=workspace.source or image.homepage,
    )


def unmade(definition: BaseDefinition) -> BuiltBase:
    """A base image that was not made here: enough to render, not to build."""
    return BuiltBase(definition.base.name, "", "", definition.base.published, definition.epoch)


def plan_context(
    workspace: Workspace, image: ImageDefinition, backend: Backend, converter: Converter, site: Site
) -> tuple[File, ...]:
    """The rendered files of one image in every format, whether or not its base image was made here.

    Raises NotLocked where its inputs are not locked.
    """
    definition = load_base(workspace, image.base)
    state = image_lock_state(workspace, image, definition, site)
    if state.good is None:
        raise NotLocked(f"{image.id}: {state.reason}", hint=f"run imagefactory lock {image.id}")
    base_lock = base_lock_state(workspace, definition, site).good
    assert base_lock
    base = made_base(definition, base_lock, record_of_base(workspace, image.base)) or unmade(definition)
    spec = make_spec(workspace, image, definition, base, state.good, base_lock)
    context = backend.render(spec)
    return (*context.files, converter.definition(spec, context.input_digest))


def debug_image(session: Session, image: ImageDefinition) -> None:
    """Open a shell, on the caller's terminal, in the step where the last build broke."""
    record = record_of(session.workspace, image.id)
    with record.locked(lambda: None, Stop()):
        planned = plan_image(session.workspace, image, session.backend, session.site)
        assert isinstance(planned, Planned)
        with record.scratch_folder() as scratch:
            session.backend.debug(planned.spec, record.context, scratch, session.store)


def plan_images(
    workspace: Workspace,
    images: Iterable[ImageDefinition],
    backend: Backend,
    converter: Converter,
    site: Site,
) -> list[tuple[Planned | Unlocked, Verdict]]:
    """A verdict for each image, and one for its SIF file; nothing is built and nothing is written."""
    found = []
    for image in images:
        planned = plan_image(workspace, image, backend, site)
        record = record_of(workspace, image.id)
        sif = judge_sif(image, record.read(), converter.version, record.folder)
        if planned.verdict.action == "build":
            sif = Verdict("build", ("the image is built anew",))
        found.append((planned, sif))
    return found


def plan_image(
    workspace: Workspace, image: ImageDefinition, backend: Backend, site: Site
) -> Planned | Unlocked:
    """The verdict for one image. No lock, and an unmade base image, are reason enough to build."""
    definition = load_base(workspace, image.base)
    state = image_lock_state(workspace, image, definition, site)
    if state.good is None:
        return Unlocked(image, Verdict("build", (state.reason,)))
    base_lock = base_lock_state(workspace, definition, site).good
    assert base_lock
    base_record = record_of_base(workspace, image.base)
    base = made_base(definition, base_lock, base_record)
    spec = make_spec(workspace, image, definition, base or unmade(definition), state.good, base_lock)
    context = backend.render(spec)
    if base is None:
        reason = judge_base(definition, base_lock, base_record, base_record.read_base())
        return Planned(image, spec, context, Verdict("build", (reason,)))
    report = record_of(workspace, image.id).read()
    return Planned(image, spec, context, judge(image, context, report, backend.find))
