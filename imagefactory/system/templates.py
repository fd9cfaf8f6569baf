"""Text from templates, which stand in a folder ``templates`` beside the code that fills them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2

from imagefactory.model.environment import shell_word


def fill(package: str, name: str, values: Mapping[str, Any]) -> str:
    """The text of a package's template. Raises jinja2's errors, which are bugs: values are checked before."""
    text = _environment(package).get_template(name).render(values)
    # One blank line at most between parts, whatever blocks the template left out.
    return re.sub(r"\n{3,}", "\n\n", text)


def text_of(package: str, name: str) -> str:
    """A file in the folder ``templates`` as it stands."""
    return (files(package) / "templates" / name).read_text(encoding="utf-8")


def quoted(value: str) -> str:
    """``value`` as one double-quoted Dockerfile word, with nothing left to expand."""
    return '"' + re.sub(r'([\\"$])', r"\\\1", value) + '"'


def tcl_word(value: str) -> str:
    """``value`` as one double-quoted word of Tcl, with nothing left to expand."""
    return '"' + re.sub(r'([\\"$\[\]{}])', r"\\\1", value) + '"'


@cache
def _environment(package: str) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: text_of(package, name)),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  # not HTML: `quoted` and `shell` escape
    )
    environment.filters.update(quoted=quoted, shell=shell_word, word=shlex.quote, tcl=tcl_word)
    return environment
