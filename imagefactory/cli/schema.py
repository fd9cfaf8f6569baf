"""JSON Schemas of the files that people and programs read."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from imagefactory.model.lock import FetchedFiles, LockFile
from imagefactory.model.recipe import BaseImage, Part, Recipe
from imagefactory.model.report import History, Report
from imagefactory.model.settings import SiteFile

_KINDS: dict[str, type[BaseModel]] = {
    "recipe": Recipe,
    "part": Part,
    "base": BaseImage,
    "lock": LockFile,
    "fetched": FetchedFiles,
    "site": SiteFile,
    "report": Report,
    "history": History,
}
_WITH_VALUES = ("recipe", "part")


def schema_of(kind: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a kind of file: recipe, part, base, lock, fetched, site,
    report or history.
    """
    schema = _KINDS[kind].model_json_schema(mode="validation")
    if kind in _WITH_VALUES:
        schema = _with_values(schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_close(schema)}


def _with_values(schema: Any) -> Any:
    """Have editors take a text for good that holds a value: what it is then is checked by the factory."""
    if isinstance(schema, list):
        return [_with_values(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    open_ = {key: _with_values(part) for key, part in schema.items()}
    if isinstance(open_.get("pattern"), str):
        open_["pattern"] += r"|\$\{[a-z]"
    return open_


def _close(schema: Any) -> Any:
    """Have editors flag a key that fits no pattern, as the check does."""
    if isinstance(schema, list):
        return [_close(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _close(part) for key, part in schema.items()}
    return {**closed, "additionalProperties": False} if "patternProperties" in schema else closed
