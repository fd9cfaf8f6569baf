"""JSON Schemas of the files that people and programs read."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from imagefactory.model.lock import FetchedFiles, LockFile
from imagefactory.model.recipe import BaseImage, Recipe
from imagefactory.model.report import History, Report
from imagefactory.model.settings import SiteFile

_KINDS: dict[str, type[BaseModel]] = {
    "recipe": Recipe,
    "base": BaseImage,
    "lock": LockFile,
    "fetched": FetchedFiles,
    "site": SiteFile,
    "report": Report,
    "history": History,
}


def schema_of(kind: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a kind of file: recipe, base, lock, fetched, site,
    report or history.
    """
    schema = _KINDS[kind].model_json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_close(schema)}


def _close(schema: Any) -> Any:
    """Have editors flag a key that fits no pattern, as the check does."""
    if isinstance(schema, list):
        return [_close(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _close(part) for key, part in schema.items()}
    return {**closed, "additionalProperties": False} if "patternProperties" in schema else closed
