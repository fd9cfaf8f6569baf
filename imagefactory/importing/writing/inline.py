"""Which files of a draft stand in its ``recipe.yaml``, and which in folders beside it."""

from __future__ import annotations

import re

from imagefactory.importing.drafting.draft import Draft, FileDraft
from imagefactory.importing.writing.yamltext import can_be_block

_MOST = 4 << 10
_LOOKS_FILLED = re.compile(r"\$\{[a-z][a-z0-9_]*\}")


def inline_files(draft: Draft) -> dict[str, str]:
    """Small texts, by name. Those in which the recipe would fill something in stay files."""
    return {name: text for name, file in draft.files.items() if (text := _inline(file))}


def _inline(file: FileDraft) -> str:
    try:
        text = file.data.decode("utf-8")
    except UnicodeDecodeError:
        return ""
    if len(text) > _MOST or _LOOKS_FILLED.search(text) or not can_be_block(text):
        return ""
    return text if not file.executable or text.startswith("#!") else ""
