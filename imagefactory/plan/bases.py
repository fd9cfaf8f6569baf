"""Base images: is the one we have still the one that its file and its lock describe."""

from __future__ import annotations

import hashlib

from imagefactory.model.lock import Lock
from imagefactory.model.report import BaseReport
from imagefactory.model.spec import BaseDefinition, BuiltBase
from imagefactory.records import Record

BASE_RENDERER = 3
"""Raised when the same file would be made into another base image."""


def definition_digest(definition: BaseDefinition, lock: Lock) -> str:
    """sha256 over everything in the file, its date, the platform, the packages, and how bases are made."""
    base = definition.base.model_dump_json()
    facts = (BASE_RENDERER, definition.platform, base, definition.epoch, lock.digest)
    text = "\n".join(map(str, facts))
    return hashlib.sha256(text.encode()).hexdigest()


def made_base(definition: BaseDefinition, lock: Lock | None, record: Record) -> BuiltBase | None:
    """The base image as last made, or None where it must be made first."""
    report = record.read_base()
    if lock is None or judge_base(definition, lock, record, report):
        return None
    assert report is not None
    name, published = definition.base.name, definition.base.published
    return BuiltBase(name, report.image_digest, str(record.layout), published, definition.epoch)


def judge_base(definition: BaseDefinition, lock: Lock, record: Record, report: BaseReport | None) -> str:
    """Why the base image must be made, or nothing where it need not be."""
    name = definition.base.name
    if report is None or not (record.layout / "blobs" / report.image_digest.replace(":", "/")).is_file():
        return f"base image {name} is not made yet"
    if report.definition_digest != definition_digest(definition, lock):
        return f"base image {name} has changed in its file or its lock"
    return ""
