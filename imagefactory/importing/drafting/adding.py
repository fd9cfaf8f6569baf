"""Packages to a draft: what a recipe can say of each, and a note of what it can't."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence

from imagefactory.importing.commands.packages import AskedOfConda, AskedOfPip
from imagefactory.importing.drafting.draft import Draft, Index, SourceDraft
from imagefactory.importing.fits import fits, host_of, slug, unused
from imagefactory.inputs.index import client_default
from imagefactory.model.fields import (
    AptPackage,
    CondaChannel,
    CondaSpec,
    GitCommit,
    GitUrl,
    PipRequirement,
    Url,
)
from imagefactory.model.recipe import conda_name, pip_name

_INSTALLERS = ("conda", "mamba", "micromamba", "anaconda")
_IN_SCRIPT = "pip is not there: name a release that an index has, or declare its source and install that"
ANACONDA = "https://repo.anaconda.com/pkgs/main"


def add_apt(draft: Draft, names: Iterable[str], only: str) -> list[str]:
    """Debian's packages. Gives back why some of them could not be taken as they are."""
    layer, left = draft.layer(only), list[str]()
    for given in names:
        name, pin, version = given.partition("=")
        plain = draft.resolved(name)
        if not fits(AptPackage, plain):
            bare = plain.partition("/")[0].partition(":")[0]
            left.append(f"'{given}' is no name of a package")
            layer.note("apt", f"not taken: {given}" + (f" (perhaps {bare})" if bare != plain else ""))
            continue
        layer.apt.setdefault(name, f"asked for as {given}: locking pins it" if pin and version else "")
    return left


def add_pip(draft: Draft, asked: AskedOfPip, only: str) -> list[str]:
    """Python packages. Gives back why some of them could not be taken."""
    layer, left, taken = draft.layer(only), list[str](), list[str]()
    for given in asked.packages:
        plain = draft.resolved(given)
        if pip_name(plain) == "pip" and not re.search(r"[/:]", plain):
            continue  # uv installs them
        if fits(PipRequirement, plain) and not plain.startswith((".", "/")):
            layer.add_pip(given)
            taken.append(pip_name(plain))
        else:
            left.append(f"pip install {given}: {_IN_SCRIPT}")
            _add_repository(draft, given, only)
    for given in asked.editable:
        left.append(f"pip install -e {given}: {_IN_SCRIPT}")
    for file in asked.requirements:
        left += _from_file(draft, file, only, taken)
    for file in asked.constraints:
        left.append(f"the constraints in {file}: list them under inputs.pip.constraints")
    for address in asked.links:
        left.append(f"--find-links {address}: only indexes can be named, not pages of links")
    if asked.before_release:
        layer.note("pip", "some were asked for with --pre: name the version where it is a pre-release")
    for address in (asked.index, asked.extra_index):
        if address and not _is_usual(address):
            left += _add_index(draft, address, taken, only, besides=address == asked.extra_index)
    return left


def _add_repository(draft: Draft, given: str, only: str) -> None:
    """The repository that a Python package was to be installed from, to be declared."""
    found = re.fullmatch(r"(?:[\w.-]+\s*@\s*)?git\+(https://[^@#\s]+)(?:@([^#\s]+))?(?:#.*)?", given)
    if found is None:
        return
    url = found[1] if found[1].endswith(".git") else f"{found[1]}.git"
    if fits(GitUrl, draft.resolved(url)) and all(source.url != url for source in draft.sources.values()):
        name = draft.free_source(slug(url.rpartition("/")[2].removesuffix(".git"), "code", most=40))
        ref = draft.resolved(found[2] or "")
        commit = ref if fits(GitCommit, ref) else ""
        draft.sources[name] = SourceDraft(url, git=True, commit=commit, ref=ref, only=only)


def _is_usual(address: str) -> bool:
    """Whether it is where pip looks where nobody names an index: then a recipe names none either."""
    return host_of(address) == host_of(client_default())


def _add_index(draft: Draft, address: str, names: Sequence[str], only: str, *, besides: bool) -> list[str]:
    layer = draft.layer(only)
    if not names or not fits(Url, draft.resolved(address)):
        return [f"the index {address}"]
    host = host_of(address) or "index"
    name = slug(host.removeprefix("download.").removeprefix("www.").rpartition(".")[0], "index")
    known = next((key for key, index in layer.indexes.items() if index.url == address), None)
    key = known or unused(name, layer.indexes)
    index = layer.indexes.setdefault(key, Index(address))
    index.packages.update(dict.fromkeys(names))
    if not besides:
        return []
    layer.note("indexes", f"{key} stood beside the usual index: leave those that it has")
    return [f"which packages come from {address} is guessed"]


def _from_file(draft: Draft, file: str, only: str, taken: list[str]) -> list[str]:
    name = file.rpartition("/")[2]
    known = draft.files.get(name)
    if known is None:
        return [f"the requirements in {file}: list them under inputs.pip.packages"]
    asked, left = AskedOfPip(), list[str]()
    for line in known.data.decode(errors="replace").splitlines():
        text = re.sub(r"(^|\s)#.*", "", line).strip()
        if text.startswith("-") or "://" in text:
            left.append(f"{name}: {text}")
        elif text:
            asked.packages.append(text)
    left += add_pip(draft, asked, only)
    taken += [pip_name(each) for each in asked.packages]
    return left


def add_conda(draft: Draft, asked: AskedOfConda, only: str) -> list[str]:
    """Conda packages. Gives back why some of them could not be taken."""
    packages = [each for each in asked.packages if conda_name(draft.resolved(each)) not in _INSTALLERS]
    environment = asked.environment.rstrip("/").rpartition("/")[2] or "base"
    layer = draft.layer(only)
    draft.conda_wanted = True
    left = [f"the environment in {file}: list its packages under inputs.conda" for file in asked.files]
    if any(each.conda for each in draft.layers.values()) and environment != draft.conda_environment:
        draft.conda_left_out.add(environment)
        if packages:
            text = f"environment {environment}: {' '.join(packages)}"
            layer.note("conda", f"an image has one environment of conda; left out is the {text}")
            left.append(f"the second conda environment, {environment}")
        return left
    if packages:
        draft.conda_environment = environment
    if environment != "base" and asked.action in ("create", "env create", "install"):
        for old, new in list(draft.aliases.items()):
            draft.move(f"{old}/envs/{asked.environment}", new)
    for channel in asked.channels:
        left += add_channel(draft, channel, only)
    for given in packages:
        channel, _, spec = given.rpartition("::")
        spec = re.sub(r"^([a-z0-9_.-]+)==?(?=[0-9])", r"\1==", spec) if spec.count("=") == 2 else spec
        if channel:
            left += add_channel(draft, channel, only)
        if fits(CondaSpec, draft.resolved(spec)):
            name = conda_name(draft.resolved(spec))
            if name not in layer.conda or re.search(r"[=<>]", spec):
                layer.conda[name] = spec
        else:
            left.append(f"conda package {given}")
            layer.note("conda", f"not taken: {given}")
    return left


def add_channel(draft: Draft, channel: str, only: str) -> list[str]:
    """A channel of conda's. Gives back why it could not be taken."""
    name = {"defaults": ANACONDA, "main": ANACONDA, "anaconda": ANACONDA}.get(channel, channel)
    if not fits(CondaChannel, name):
        return [f"conda channel {channel}"]
    draft.layer(only).channels[name] = None
    return []


def conda_words(text: str) -> AskedOfConda:
    """What a template's line of conda packages asks for, with its channels."""
    from imagefactory.importing.commands.packages import conda_of

    asked = conda_of(["conda", "install", *shlex.split(text)])
    assert asked is not None
    return asked
