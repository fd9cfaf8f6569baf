"""Base images: is the one we have still the one that its file describes."""

from __future__ import annotations

import hashlib

from imagefactory.model.report import BaseReport
from imagefactory.model.spec import BaseDefinition, BuiltBase
from imagefactory.records import Record

BASE_RENDERER = 2
"""Raised when the same file would be made into another base image."""


def definition_digest(definition: BaseDefinition) -> str:
    """sha256 over everything in the file, its date, the platform, and how bases are made."""
    facts = (BASE_RENDERER, definition.platform, definition.base.model_dump_json(), definition.epoch)
    text = "\n".join(map(str, facts))
    return hashlib.sha256(text.encode()).hexdigest()


def made_base(definition: BaseDefinition, record: Record) -> BuiltBase | None:
    """The base image as last made, or None where it must be made first."""
    report = record.read_base()
    if judge_base(definition, record, report):
        return None
    assert report is not None
    name, published = definition.base.name, definition.base.published
    return BuiltBase(name, report.image_digest, str(record.layout), published, definition.epoch)


def judge_base(definition: BaseDefinition, record: Record, report: BaseReport | None) -> str:
    """Why the base image must be made, or nothing where it need not be."""
    name = definition.base.name
    if report is None or not (record.layout / "blobs" / report.image_digest.replace(":", "/")).is_file():
        return f"base image {name} is not made yet"
    if report.definition_digest != definition_digest(definition):
        return f"base image {name} has changed in its file"
    return ""
