"""What the factory makes, as data: a target says what it is made from, and nothing of how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from imagefactory.model.spec import BaseSpec, File, ImageSpec

Spec = BaseSpec | ImageSpec


@dataclass(frozen=True, slots=True, order=True)
class TargetId:
    """Which of all targets: its kind's name, and the name of its image or base image."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class Room:
    """What making and testing a target takes of a machine.

    ``cores`` that it keeps busy; ``memory`` in bytes; ``disk`` in bytes by the folder that they are written
    below, over and above what is there already; ``stays`` is what of them is there still when it is done.
    """

    cores: float = 1.0
    memory: int = 0
    disk: Mapping[str, int] = field(default_factory=dict)
    stays: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Target:
    """One thing to make. Equal targets have equal digests, on every machine.

    ``ingredients`` are what decides what comes out, each with a name that a person understands; those of what
    it ``needs`` are in them by their digests. ``input_digest`` is the sha256 of them all, ``tests_digest`` of
    all that decides how its tests end. ``contents`` are rendered files, which are ingredients too.
    """

    id: TargetId
    needs: tuple[TargetId, ...]
    spec: Spec
    ingredients: Mapping[str, Any] = field(repr=False)
    input_digest: str
    tests_digest: str
    contents: tuple[File, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Unlocked:
    """A target of which nothing can be said yet but why: ``reason``."""

    id: TargetId
    needs: tuple[TargetId, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Description:
    """What a kind says of one of its targets: its own ingredients, without those of what it needs; and files
    rendered on the way.
    """

    ingredients: Mapping[str, Any]
    contents: tuple[File, ...] = ()
