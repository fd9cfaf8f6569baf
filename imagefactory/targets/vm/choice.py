"""Which VM base a project image is made of."""

from __future__ import annotations

from imagefactory.errors import BadInput
from imagefactory.model.recipe import BaseImage, Needs

_WORDS = {"desktop": "a desktop", "gpu": "a GPU", "desktop_gpu": "a desktop and a GPU"}


def chosen_base(name: str, base: BaseImage, needs: Needs) -> str:
    """The VM base for the image ``name``, made on ``base``, that needs this. Raises BadInput where that names
    none.
    """
    kind, named = needs.kind, base.vm_bases.named()
    if kind in named:
        return named[kind]
    file = f"base_images/{base.name}.yaml"
    if not named:
        line = "vm: debian-13-vm" if kind == "plain" else f"vm: {{{kind}: {_example(kind)}}}"
        raise BadInput(
            f"{name}: base image {base.name} names no VM base, so no VM image can be made of it",
            hint=f"add a line to {file}, such as: {line}",
        )
    needed = _WORDS.get(kind, "neither a desktop nor a GPU")
    both = ", ".join(f"{each}: {vm_base}" for each, vm_base in {**named, kind: _example(kind)}.items())
    raise BadInput(
        f"{name}: it needs {needed}, and base image {base.name} names no VM base for that",
        hint=f"name one in {file}, such as: vm: {{{both}}}",
    )


def _example(kind: str) -> str:
    return "debian-13-vm" if kind == "plain" else f"debian-13-{kind.replace('_', '-')}-vm"
