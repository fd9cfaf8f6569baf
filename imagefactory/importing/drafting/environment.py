"""Variables of foreign recipes: folders of PATH, and values, with what they were made of filled in."""

from __future__ import annotations

import re

from imagefactory.importing.commands.shell import expand
from imagefactory.importing.drafting.draft import Draft
from imagefactory.importing.fits import fits
from imagefactory.importing.steps import DOLLAR, Environment
from imagefactory.model.fields import AbsolutePath, EnvironmentName, EnvironmentValue

SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_EMPTY = frozenset(
    (
        *("LD_LIBRARY_PATH", "LIBRARY_PATH", "PYTHONPATH", "PERL5LIB", "MANPATH", "CPATH", "C_INCLUDE_PATH"),
        *("CPLUS_INCLUDE_PATH", "PKG_CONFIG_PATH", "CMAKE_PREFIX_PATH", "R_LIBS", "MATLABPATH", "CLASSPATH"),
    )
)
"""What is not set in a base image, so that a recipe that adds to it begins it."""
_NO_MATTER = {
    "DEBIAN_FRONTEND": "apt asks nothing here",
    "PIP_NO_CACHE_DIR": "uv installs, and keeps no cache",
    "PIP_ROOT_USER_ACTION": "uv installs",
    "PIP_BREAK_SYSTEM_PACKAGES": "packages of Python have a folder of their own",
    "CONDA_DIR": "",
    "ND_ENTRYPOINT": "",
}


def set_variables(draft: Draft, step: Environment) -> list[str]:
    """The variables of one instruction. Gives back why some could not be taken."""
    left: list[str] = []
    for name, value in step.pairs:
        if name == "PATH" and not step.building:
            left += _add_path(draft, value, step.only)
        elif _NO_MATTER.get(name):
            draft.known[name] = value
        elif why := _set(draft, step, name, value):
            left.append(f"{name}: {why}")
            draft.layer(step.only).note("environment", f"not taken: {name}={value} ({why})")
    return left


def _set(draft: Draft, step: Environment, name: str, value: str) -> str:
    """Sets one variable. Gives back why not."""
    known = {**dict.fromkeys(_EMPTY, ""), **draft.known}
    plain = expand(value, {key: each for key, each in known.items() if key not in draft.values})
    if name.endswith(("PATH", "LIB", "LIBS")):
        plain = re.sub(r"::+", ":", plain).strip(":") if "$" in value else plain
    if plain == "~" or plain.startswith("~/"):
        plain = "${HOME}" + plain[1:]
    rest = draft.resolved(plain.replace("${HOME}", "").replace("$HOME", ""))
    plain = re.sub(r"\$HOME\b", "${HOME}", plain)
    if "$" in rest or "`" in rest:
        return "what it is made of is not known"
    if not fits(EnvironmentName, name):
        return "no recipe may set it" if re.fullmatch(r"[A-Za-z_]\w*", name) else "no name of a variable"
    said = plain.replace(DOLLAR, "$")
    if not fits(EnvironmentValue, draft.resolved(said)):
        return "its value can't be taken"
    draft.known[name] = plain
    meant = next((each for each in ("HOME", *draft.values) if f"{DOLLAR}{{{each}}}" in plain), "")
    draft.script.give(name, plain, step.only, building=step.building or bool(meant))
    if meant and not step.building:
        why = "the user's home" if meant == "HOME" else "a value"
        return f"a literal ${{{meant}}} can't be said here, where it is {why}; install.sh alone has it"
    if not step.building:
        draft.layer(step.only).environment[name] = said
    return ""


def _add_path(draft: Draft, value: str, only: str) -> list[str]:
    before, after, left = list[str](), list[str](), list[str]()
    seen = False
    for given in value.replace('"', "").replace("'", "").split(":"):
        if given in ("$PATH", "${PATH}"):
            seen = True
            continue
        folder = expand(given, {key: each for key, each in draft.known.items() if key not in draft.values})
        folder = re.sub("/+", "/", folder).rstrip("/")
        if folder in SYSTEM_FOLDERS or not folder:
            continue
        if not fits(AbsolutePath, draft.resolved(folder)):
            left.append(f"PATH: {given}")
            draft.layer(only).note("path", f"not taken: {given}")
        elif seen:
            after.append(folder)
            note = f"{folder} stood at the end of PATH: here it is before the system's folders"
            draft.layer(only).note("path", note)
        else:
            before.append(folder)
    layer = draft.layer(only)
    known = list(layer.path)
    layer.path = dict.fromkeys([*before, *known, *after])
    return left
