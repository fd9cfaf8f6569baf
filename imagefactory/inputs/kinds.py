"""The kinds of input, in the order in which they are resolved: each may need what those before it found."""

from __future__ import annotations

from types import MappingProxyType

from imagefactory.inputs.apt import Apt
from imagefactory.inputs.blobs import Blobs
from imagefactory.inputs.conda import Conda
from imagefactory.inputs.pip import Pip
from imagefactory.inputs.protocol import InputKind
from imagefactory.inputs.sources import Sources

KINDS = MappingProxyType[str, InputKind](
    {kind.name: kind for kind in (Apt(), Conda(), Pip(), Sources(), Blobs())}
)
