"""Text from templates, which stand in a folder ``templates`` beside the code that fills them."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import sys
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import jinja2.bccache
import jinja2.compiler
import jinja2.nodes

from imagefactory.model.environment import shell_word
from imagefactory.system.fresh import mark_of


def fill(package: str, name: str, values: Mapping[str, Any]) -> str:
    """The text of a package's template. Raises jinja2's errors, which are bugs: values are checked before."""
    text = _environment(package).get_template(name).render(values)
    # One blank line at most between parts, whatever blocks the template left out.
    return re.sub(r"\n{3,}", "\n\n", text)


@cache
def text_of(package: str, name: str) -> str:
    """A file in the folder ``templates`` as it stands."""
    return (files(package) / "templates" / name).read_text(encoding="utf-8")


class Unfillable(Exception):
    """A template that somebody else wrote can't be filled here: why."""


def fill_foreign(text: str, values: Mapping[str, Any]) -> str:
    """The text of a template that others wrote. Raises Unfillable for what is unknown, wrong or could run on.

    Only names, attributes, comparisons, conditions, and a few functions of texts are taken: no loops, no
    arithmetic.
    """
    try:
        parsed = _foreign().parse(text)
        for node in parsed.find_all(jinja2.nodes.Node):
            if not isinstance(node, _HARMLESS):
                raise Unfillable(f"{type(node).__name__.lower()} in a template is not supported")
            if isinstance(node, jinja2.nodes.Filter) and node.name not in _FILTERS:
                raise Unfillable(f"the filter '{node.name}' in a template is not supported")
            if isinstance(node, jinja2.nodes.Call) and not _is_harmless(node):
                raise Unfillable("a call in a template is not supported")
        return _foreign().from_string(parsed).render(values)
    except (jinja2.TemplateError, TypeError, ValueError, LookupError, RecursionError) as error:
        raise Unfillable(str(error).partition("\n")[0] or "it can't be filled in") from None


_N = jinja2.nodes
_HARMLESS = (
    *(_N.Template, _N.Output, _N.TemplateData, _N.Name, _N.Const, _N.Getattr, _N.Getitem, _N.Slice),
    *(_N.If, _N.CondExpr, _N.Compare, _N.Operand, _N.And, _N.Or, _N.Not, _N.Concat, _N.Add),
    *(_N.Filter, _N.Call, _N.List, _N.Tuple),
)
_FILTERS = ("lower", "upper", "replace", "default", "trim", "first", "last", "string", "int", "length")
_METHODS = ("lower", "upper", "replace", "split", "strip", "startswith", "endswith", "get_file", "has_file")


def _is_harmless(call: jinja2.nodes.Call) -> bool:
    called = call.node
    name = called.attr if isinstance(called, _N.Getattr) else getattr(called, "name", "")
    return name in _METHODS


@cache
def _foreign() -> jinja2.Environment:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(  # what leaves it is text, never a page
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )


def quoted(value: str) -> str:
    """``value`` as one double-quoted Dockerfile word, with nothing left to expand."""
    return '"' + re.sub(r'([\\"$])', r"\\\1", value) + '"'


def tcl_word(value: str) -> str:
    """``value`` as one double-quoted word of Tcl, with nothing left to expand."""
    return '"' + re.sub(r'([\\"$\[\]{}])', r"\\\1", value) + '"'


def comment(value: str) -> str:
    """``value`` as the rest of a line that is a comment, with nothing that could end the line."""
    return _CONTROL.sub(" ", value)


def yaml_word(value: str) -> str:
    """``value`` as one double-quoted word of YAML, or of JSON."""
    return '"' + _escaped(value) + '"'


def hcl_word(value: str) -> str:
    """``value`` as one double-quoted word of Terraform's language, with nothing left to expand."""
    return '"' + re.sub(r"[$%](?=\{)", lambda sign: f"\\u{ord(sign[0]):04x}", _escaped(value)) + '"'


# What ends lines, what terminals obey, and what no UTF-8 can say.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff\ufffe\uffff]")


def _escaped(value: str) -> str:
    escaped = re.sub(r'[\\"]', r"\\\g<0>", value)
    return _CONTROL.sub(lambda character: f"\\u{ord(character[0]):04x}", escaped)


class _Compiled(jinja2.BytecodeCache):
    """Compiled templates of a package: they stand beside what Python keeps of this module, where it keeps
    any, and serve until the template, Jinja's compiler or this module is another.
    """

    def __init__(self, package: str) -> None:
        self._package = package
        self._compilers = [mark_of(Path(file)) for file in (jinja2.compiler.__file__, __file__)]

    def get_source_checksum(self, source: str) -> str:
        return f"{self._compilers} {super().get_source_checksum(source)}"

    def load_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        with contextlib.suppress(OSError):
            bucket.bytecode_from_string(self._file(bucket).read_bytes())

    def dump_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        file = self._file(bucket)
        draft = file.with_suffix(f".{os.getpid()}.draft")
        if sys.dont_write_bytecode:
            return
        with contextlib.suppress(OSError):
            draft.write_bytes(bucket.bytecode_to_string())
            draft.replace(file)

    def _file(self, bucket: jinja2.bccache.Bucket) -> Path:
        return Path(__file__).with_name("__pycache__") / f"{self._package}.{bucket.key}.template"


@cache
def _environment(package: str) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: text_of(package, name)),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        bytecode_cache=_Compiled(package),
        autoescape=False,  # noqa: S701  # not HTML: `quoted`, `shell` and the like escape
    )
    environment.filters.update(
        quoted=quoted,
        shell=shell_word,
        word=shlex.quote,
        tcl=tcl_word,
        hcl=hcl_word,
        yaml=yaml_word,
        comment=comment,
    )
    return environment
