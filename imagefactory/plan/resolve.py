"""Definitions and locks to targets: each is resolved once in a run, and again only where a lock changed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from imagefactory.definitions.bases import load_base
from imagefactory.definitions.recipes import clash, problem_of
from imagefactory.errors import BadFiles, BadInput, NotLocked, Problem
from imagefactory.locks import lock_file, read_locks
from imagefactory.locks.states import LockState, base_lock_state, image_lock_state
from imagefactory.model.lock import Lock
from imagefactory.model.recipe import Needs, is_vm_base
from imagefactory.model.spec import (
    BaseDefinition,
    BaseSpec,
    File,
    ImageDefinition,
    ImageSpec,
    Sibling,
    UnpinnedSpec,
    tag_of,
)
from imagefactory.model.target import Spec, Target, TargetId, Unlocked
from imagefactory.plan.versions import asked_version, depends_on_lock, disagreement, is_latest, locked_version
from imagefactory.system.site import Site
from imagefactory.system.workspace import Workspace
from imagefactory.targets.kind import Kind, RenderedUnpinned, Tested
from imagefactory.targets.register import Kinds, called, line, lines

Graph = Mapping[TargetId, Target | Unlocked]
"""Targets by their identifiers, after those that they need."""


@dataclass(frozen=True, slots=True)
class ResolvedBase:
    """A base image with its lock; ``spec`` where that is good."""

    definition: BaseDefinition
    state: LockState
    spec: BaseSpec | None


@dataclass(frozen=True, slots=True)
class ResolvedImage:
    """An image with its base image and its lock; ``spec`` where both locks are good, and nothing that they
    say is against what its recipe says: ``problems``.
    """

    definition: ImageDefinition
    base: ResolvedBase
    state: LockState
    spec: ImageSpec | None
    problems: tuple[Problem, ...] = ()


class Resolver:
    """What one run knows of images, base images and their targets."""

    def __init__(self, workspace: Workspace, site: Site, kinds: Kinds) -> None:
        self._workspace = workspace
        self._site = site
        self._kinds = kinds
        self._bases: dict[str, ResolvedBase] = {}
        self._images: dict[str, ResolvedImage] = {}
        self._targets: dict[TargetId, Target | Unlocked] = {}

    def base(self, name: str) -> ResolvedBase:
        """A base image. Raises BadFiles."""
        if name not in self._bases:
            definition = load_base(self._workspace, name)
            state = base_lock_state(self._workspace, definition, self._site)
            spec = BaseSpec(definition, state.good) if state.good else None
            self._bases[name] = ResolvedBase(definition, state, spec)
        return self._bases[name]

    def image(self, definition: ImageDefinition) -> ResolvedImage:
        """An image. Raises BadFiles."""
        known = self._images.get(definition.id)
        if known is None:
            base = self.base(definition.base)
            state = image_lock_state(self._workspace, definition, base.definition, self._site)
            known = ResolvedImage(definition, base, state, None)
            if base.spec and state.good:
                known = self._held_against(known, base.spec, state.good)
            self._images[definition.id] = known
        return known

    def stated(self, definition: ImageDefinition) -> ImageDefinition:
        """An image with its version, if that comes from a lock and that is good; until then with the version
        that is asked for, if that is one.
        """
        if not definition.version_from:
            return definition
        known = self.image(definition).definition
        return known if known.version else dataclasses.replace(known, version=asked_version(known))

    def problems(self, definition: ImageDefinition) -> tuple[Problem, ...]:
        """What an image's locks say against what its recipe says. Raises BadFiles."""
        return self.image(definition).problems if depends_on_lock(definition) else ()

    def _held_against(self, known: ResolvedImage, base: BaseSpec, lock: Lock) -> ResolvedImage:
        """With the specification, or with what is wrong."""
        image, source = known.definition, known.definition.version_from
        if source:
            version = locked_version(source, lock, base.lock)
            message = "" if version else f"its lock has nothing called {source.name}: name what brings it"
            image = dataclasses.replace(image, version=version)
        else:
            message = disagreement(image, lock, base.lock)
        others = self._versions_of(image.siblings, image.recipe)
        twins = [id for id, version in others.items() if tag_of(version) == tag_of(image.version) != ""]
        if twins and not message:
            message = clash(image, twins[0])
        if message:
            problem = problem_of(self._workspace, image, "version", message)
            return dataclasses.replace(known, definition=image, problems=(problem,))
        source_of_recipes = self._source or image.homepage
        spec = ImageSpec(image, base, lock, source_of_recipes, is_latest(image, others))
        return dataclasses.replace(known, definition=image, spec=spec)

    def _versions_of(self, siblings: Iterable[Sibling], recipe: str) -> dict[str, str]:
        """The versions of the other images of one name, as far as they are known."""
        versions: dict[str, str] = {}
        for other in siblings:
            versions[other.id] = other.version
            base = self.base(other.base)
            locks = read_locks(self._workspace, lock_file(self._workspace, recipe), base.definition.platform)
            if other.version_from and base.spec and other.id in locks:
                versions[other.id] = locked_version(other.version_from, locks[other.id], base.spec.lock)
        return versions

    def forget(self, *names: str) -> None:
        """Have images, or base images with all that is built on them, resolved again: a lock changed."""
        for name in names:
            gone = {name} if self._bases.pop(name, None) is None else {name, *self._built_on(name)}
            gone |= {other.id for id in gone if id in self._images for other in self._siblings(id)}
            for each in gone:
                self._images.pop(each, None)
            for id in [id for id in self._targets if id.name in gone]:
                del self._targets[id]

    def graph(self, images: Iterable[ImageDefinition], wanted: Iterable[TargetId]) -> Graph:
        """The ``wanted`` targets, which are of these ``images`` or of base images, and all that they need."""
        known = {image.id: image for image in images}
        graph: dict[TargetId, Target | Unlocked] = {}

        def add(id: TargetId) -> None:
            if id in graph:
                return
            image = known[id.name] if line(id.kind).source == "recipes" else None
            base, wants = (self.base(image.base).definition, image.needs) if image else (None, Needs())
            needs = self._kinds[id.kind].needs(id.name, base, wants)
            for need in needs:
                add(need)
            graph[id] = self._target(id, needs, image, graph)

        for id in wanted:
            add(id)
        return graph

    def render(self, image: ImageDefinition) -> tuple[File, ...]:
        """The files that build an image without the factory, in every form that can be built so.

        Raises NotLocked where its inputs are not locked.
        """
        usual = targets_of_image(image)
        files: list[File] = []
        for id in every_target(image):
            try:
                graph = self.graph([image], [id])
            except BadInput:  # such as a base image that names no VM base
                if id in usual:
                    raise
                continue
            target = graph[id]
            if isinstance(target, Unlocked):
                if id not in usual:
                    continue
                raise NotLocked(
                    f"{image.id}: {target.reason}", hint=f"run imagefactory lock {image.selector}"
                )
            needs = {need.kind: graph[need] for need in target.needs}
            locked = {kind: need for kind, need in needs.items() if isinstance(need, Target)}
            files += self._kinds[id.kind].render(target, locked)
        return tuple(files)

    def render_unpinned(self, image: ImageDefinition) -> tuple[File, ...]:
        """The same files for a build that takes whatever upstreams have then: of the request, without a lock.

        Raises BadFiles.
        """
        base = self.base(image.base).definition
        image = dataclasses.replace(image, version=asked_version(image))
        spec = UnpinnedSpec(image, base, self._source or image.homepage)
        kinds = (self._kinds[each.name] for each in lines("recipes"))
        unpinned = (kind.render_unpinned(spec) for kind in kinds if isinstance(kind, RenderedUnpinned))
        return tuple(file for files in unpinned for file in files)

    def _target(
        self, id: TargetId, needs: tuple[TargetId, ...], image: ImageDefinition | None, graph: Graph
    ) -> Target | Unlocked:
        known = self._targets.get(id)
        if known is None:
            resolved = self.image(image) if image else self.base(id.name)
            if isinstance(resolved, ResolvedImage) and resolved.problems:
                raise BadFiles(resolved.problems)
            open_ = [need for need in map(graph.get, needs) if isinstance(need, Unlocked)]
            if resolved.spec is None or open_:
                known = Unlocked(id, needs, resolved.state.reason or open_[0].reason)
            else:
                known = make_target(self._kinds[id.kind], id, resolved.spec, [graph[need] for need in needs])
            self._targets[id] = known
        return known

    def _siblings(self, id: str) -> tuple[Sibling, ...]:
        return self._images[id].definition.siblings

    def _built_on(self, base: str) -> list[str]:
        return [name for name, image in self._images.items() if image.definition.base == base]

    @cached_property
    def _source(self) -> str:
        return self._workspace.source


def targets_of_image(image: ImageDefinition, kinds: Iterable[str] | None = None) -> list[TargetId]:
    """An image's target of each of those ``kinds``, or of those that nobody has to ask for."""
    names = [each.name for each in lines("recipes") if not each.asked] if kinds is None else kinds
    return [TargetId(name, image.id) for name in names]


def every_target(image: ImageDefinition) -> list[TargetId]:
    """An image's target of each kind that images have."""
    return targets_of_image(image, [each.name for each in lines("recipes")])


def targets_of_base(name: str) -> list[TargetId]:
    """The target of each kind that a base image, or a VM base, has."""
    return [TargetId(each.name, name) for each in lines("vm_bases" if is_vm_base(name) else "base_images")]


def make_target(kind: Kind, id: TargetId, spec: Spec, needs: Iterable[Target | Unlocked]) -> Target:
    """A target of a kind: what decides what it is, and what it needs, digested."""
    needs = tuple(needs)
    said = kind.describe(spec)
    made_of = {f"made of {called(need.id)}": need.input_digest for need in needs if isinstance(need, Target)}
    ingredients = {**said.ingredients, **made_of}
    return Target(
        id=id,
        needs=tuple(need.id for need in needs),
        spec=spec,
        ingredients=ingredients,
        input_digest=_sha256(ingredients),
        tests_digest=_sha256(
            [*_test_facts(spec), list(kind.test_facts(spec) if isinstance(kind, Tested) else ())]
        ),
        contents=said.contents,
    )


def _test_facts(spec: Spec) -> list[Any]:
    """What decides the outcome of the recipe's own tests, and of what all images are tested for."""
    if isinstance(spec, BaseSpec):
        return []
    image = spec.image
    tests = [test.model_dump(mode="json", exclude=test.unsaid("data", "full")) for test in image.tests]
    files = [[f.path, f.mode, hashlib.sha256(f.data).hexdigest()] for f in image.folder.tests]
    waivers = [waiver.model_dump(mode="json") for waiver in image.waivers]
    data = {name: file.sha256 for name, file in image.test_data.items()}
    return [tests, files, list(image.commands), dict(image.environment), waivers, *([data] if data else ())]


def _sha256(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
