"""What images are made of: four kinds of input, each resolved, fetched and installed in its own way; and the
blobs that upstream base images consist of.
"""

from imagefactory.inputs.asking import answer_of
from imagefactory.inputs.debian import default_sources, lock_base, mmdebstrap_version, with_components
from imagefactory.inputs.disk import lock_disk
from imagefactory.inputs.index import client_default
from imagefactory.inputs.kinds import KINDS
from imagefactory.inputs.machine import PATCHER, lock_machine
from imagefactory.inputs.mirrors import fetch_any
from imagefactory.inputs.protocol import AskBase, Means, Origin, Staged, Wanted
from imagefactory.inputs.registry import MANIFEST, MANIFESTS
from imagefactory.inputs.upstream import lock_upstream

__all__ = [
    "KINDS",
    "MANIFEST",
    "MANIFESTS",
    "PATCHER",
    "AskBase",
    "Means",
    "Origin",
    "Staged",
    "Wanted",
    "answer_of",
    "client_default",
    "default_sources",
    "fetch_any",
    "lock_base",
    "lock_disk",
    "lock_machine",
    "lock_upstream",
    "mmdebstrap_version",
    "with_components",
]
