"""A draft as ``recipe.yaml``: tidy, and with a comment wherever something is left to do."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from imagefactory.importing.drafting.draft import Draft, Layer, SourceDraft
from imagefactory.importing.fits import fits, one_line, slug
from imagefactory.importing.steps import Described
from imagefactory.importing.writing.inline import inline_files
from imagefactory.importing.writing.yamltext import Lines, scalar
from imagefactory.model.fields import Licence, Line, Url, Version

SCHEMA = "# yaml-language-server: $schema=../../docs/schema/recipe.json"
_LONG = 64


def recipe_text(described: Described, draft: Draft) -> str:
    """All of it."""
    out = Lines()
    out.lines.append(SCHEMA)
    made_of = f"Imported from {one_line(described.file, 60)} ({described.format})."
    left = (
        "What has no counterpart here stands as a comment at its place; FILL IN marks what a person must say;"
    )
    out.comment(f"{made_of} {left} then run imagefactory check and build.")
    out.comments(draft.layer("").notes.get("head", ()))
    _about(out, described, draft)
    out.blank()
    if draft.values:
        out.mapping("values", dict(draft.values))
        out.blank()
    common = draft.layer("")
    out.comments(common.notes.get("parts", ()))
    if draft.parts:
        out.flow("parts", draft.parts)
    out.nested("inputs", _inputs(draft, common, draft.sources))
    out.blank()
    _files(out, draft)
    _layer(out, draft, common)
    _gui(out, described, draft)
    _machines(out, draft)
    _tests(out, draft)
    return out.text()


def _about(out: Lines, described: Described, draft: Draft) -> None:
    out.pair("name", draft.name)
    out.pair("title", _line(described.title or described.name) or draft.name)
    if summary := _line(described.summary):
        out.pair("summary", summary)
    if fits(Version, described.version):
        out.pair("version", "${version}" if "version" in draft.values else described.version)
    else:
        said = f", which was {one_line(described.version, _LONG)!r}" if described.version else ""
        out.comment(f"FILL IN: the application's version{said}")
        out.pair("version", "0")
    if fits(Url, described.homepage) and "${" not in described.homepage:
        out.pair("homepage", described.homepage)
    else:
        out.comment("FILL IN: the application's own page")
        out.pair("homepage", "https://example.org/")
    _licence(out, described)
    if citation := [line for text in described.citation if (line := _line(text))]:
        out.sequence("citation", dict.fromkeys(citation, ""))
    if topics := dict.fromkeys(line for text in described.topics if (line := _line(text))):
        out.flow("topics", topics)
    out.comment("FILL IN: who answers for this recipe")
    out.lines += ["maintainers:", "  - name: Unknown maintainer"]
    out.comments(draft.layer("").notes.get("base", ()))
    out.pair("base", draft.base)


def _line(text: str) -> str:
    """A text for one line of the recipe; nothing where it would be filled in."""
    line = one_line(text)
    return line if fits(Line, line) and "${" not in line else ""


def _licence(out: Lines, described: Described) -> None:
    out.comments(f"Its licence: {url}" for url in described.licence_urls)
    names = [
        name if fits(Licence, name) else f"LicenseRef-{slug(name, 'other', 60)}"
        for name in described.licences
    ]
    expression = " AND ".join(f"({name})" if " OR " in name else name for name in dict.fromkeys(names))
    if expression and fits(Licence, expression):
        out.pair("licence", expression)
        return
    out.comment(
        "FILL IN: no licence is stated, and nobody may pass on what has none: find it, then remove 'terms'"
    )
    out.pair("licence", "LicenseRef-no-licence-stated")
    out.lines += ["terms:", "  policy: private"]


def _inputs(draft: Draft, layer: Layer, sources: dict[str, SourceDraft]) -> Lines:
    inputs = Lines()
    inputs.comments(layer.notes.get("apt", ()))
    if layer.apt:
        if layer is draft.layer(""):
            inputs.comment(
                "Names as they were given: locking says which of them the base image's archives lack."
            )
        known = {draft.resolved(name): (name, note) for name, note in layer.apt.items()}
        inputs.sequence("apt", dict(known.values()))
    inputs.nested("pip", _pip(draft, layer))
    inputs.nested("conda", _conda(draft, layer))
    inputs.nested("sources", _sources(draft, sources))
    return inputs


def _pip(draft: Draft, layer: Layer) -> Lines:
    pip = Lines()
    pip.comments(layer.notes.get("pip", ()))
    if not layer.pip:
        return pip
    if draft.conda_wanted:
        pip.pair("python", "conda")
    pip.sequence("packages", layer.pip.values())
    if layer.indexes:
        pip.comments(layer.notes.get("indexes", ()))
        pip.lines.append("indexes:")
        for name, index in layer.indexes.items():
            inner = Lines()
            inner.pair("url", index.url)
            inner.flow("packages", index.packages)
            pip.lines.append(f"  {name}:")
            pip.lines += [f"    {line}" for line in inner.lines]
    return pip


def _conda(draft: Draft, layer: Layer) -> Lines:
    conda = Lines()
    conda.comments(layer.notes.get("conda", ()))
    common = layer is draft.layer("")
    packages = dict.fromkeys(layer.conda.values(), "")
    if common and draft.conda_wanted and "python" not in layer.conda:
        packages = {"python": "FILL IN: its version, which conda chose", **packages}
    if not packages:
        return conda
    channels = layer.channels or draft.layer("").channels
    if not channels:
        conda.comment("No channel was named, which means Anaconda's own: they have terms of use.")
    conda.sequence("channels", channels or ("conda-forge",))
    conda.sequence("packages", packages)
    return conda


def _sources(draft: Draft, sources: dict[str, SourceDraft]) -> Lines:
    lines = Lines()
    for name, source in sources.items():
        hints = "; ".join(source.hints)
        machine = f" (for {source.only} alone)" if source.only else ""
        address = draft.resolved(source.url)
        if source.whole:
            if hints:
                lines.comment(f"{hints}.")
            kind, pin = ("git", "commit") if source.git else ("url", "sha256")
            lines.lines += [
                f"{name}:",
                f"  {kind}: {scalar(source.url)}",
                f"  {pin}: {source.commit or source.sha256}",
            ]
        elif source.git:
            ref = f" {shlex.quote(source.ref)}" if source.ref else ""
            lines.comment(f"FILL IN{machine}: the commit{f' ({hints})' if hints else ''}, which this prints:")
            lines.comment(f"    git ls-remote {shlex.quote(address)}{ref}")
            lines.inactive([f"{name}:", f"  git: {source.url}", "  commit: …"])
        else:
            lines.comment(f"FILL IN{machine}: the sha256{f' ({hints})' if hints else ''}, which this prints:")
            lines.comment(f"    curl -fL {shlex.quote(address)} | sha256sum")
            lines.inactive([f"{name}:", f"  url: {source.url}", "  sha256: …"])
    return lines


def _files(out: Lines, draft: Draft) -> None:
    for name, why in draft.missing.items():
        out.comment(f"FILL IN: files/{name}: {why}")
    if inline := inline_files(draft):
        out.lines.append("files:")
        for name, text in inline.items():
            inner = Lines()
            inner.block(name, text)
            out.lines += [f"  {line}" if line else "" for line in inner.lines]
    out.blank()


def _layer(out: Lines, draft: Draft, layer: Layer) -> None:
    out.comments(layer.notes.get("environment", ()))
    if layer.environment:
        out.mapping("environment", {name: draft.moved(value) for name, value in layer.environment.items()})
    out.comments(layer.notes.get("path", ()))
    path = {draft.resolved(folder): folder for folder in map(draft.moved, layer.path)}
    if path := {plain: folder for plain, folder in path.items() if plain not in _CONDA_PATHS}:
        out.sequence("path", path.values())
    out.comments(layer.notes.get("commands", ()))
    if commands := list(commands_of(draft, layer)):
        out.sequence("commands", dict.fromkeys(commands, ""))


_CONDA_PATHS = ("/opt/conda/bin", "/opt/conda/condabin", "/opt/venv/bin")
"""What an image with such packages has in PATH by itself, in this order."""


def commands_of(draft: Draft, layer: Layer) -> Iterator[str]:
    """The commands of a layer, without folders of packages: those hold hundreds."""
    seen: set[str] = set()
    for each in layer.commands:
        command = draft.moved(each)
        plain = draft.resolved(command)
        if plain not in seen and plain.rpartition("/")[0] not in _CONDA_PATHS:
            seen.add(plain)
            yield command


def _gui(out: Lines, described: Described, draft: Draft) -> None:
    commands = {draft.resolved(each) for each in commands_of(draft, draft.layer(""))}
    apps = Lines()
    for app in described.gui:
        words = app.command.split()
        name = words[0].rpartition("/")[2] if words else ""
        if len(words) == 1 and name in commands and fits(Line, app.name) and "${" not in app.name:
            inner = Lines()
            inner.pair("name", app.name)
            inner.pair("command", name)
            if described.icon:
                inner.lines.append(f"icon: {draft.name}.png")
            apps.item(inner)
        else:
            apps.comment(f"FILL IN: {app.name} was started by: {app.command}; write a command for it")
    if any(not line.lstrip().startswith("#") for line in apps.lines):
        if described.icon:
            out.comment("The icon is as large as it was; menus expect 256 pixels.")
        out.lines += ["gui_apps:", *apps.lines, "needs:", "  desktop: true"]
    else:
        out.lines += apps.lines
    out.blank()


def _machines(out: Lines, draft: Draft) -> None:
    machines = Lines()
    for machine in ("amd64", "arm64"):
        layer, inner = draft.layer(machine), Lines()
        inner.nested("inputs", _inputs(draft, layer, {}))
        _layer(inner, draft, layer)
        machines.nested(machine, inner)
    out.nested("architectures", machines)
    out.blank()


def _tests(out: Lines, draft: Draft) -> None:
    out.comments(draft.test_notes)
    out.lines.append("tests:")
    for name, test in draft.tests.items():
        inner = Lines()
        if test.note:
            inner.comment(test.note)
        inner.pair("name", name)
        inner.flow("command", test.command)
        if test.output:
            inner.sequence("output", dict.fromkeys(test.output, ""))
        if test.status:
            inner.pair("status", test.status)
        if test.files:
            inner.flow("files", test.files)
        if test.full:
            inner.pair("full", True)
        out.item(inner)
