"""The way of an image: lock, fetch, render, build, test, keep."""

from imagefactory.pipeline.bundle import read_bundle
from imagefactory.pipeline.images import (
    build_images,
    bundle_images,
    fetch_images,
    lock_images,
    test_images,
    unlocked,
)
from imagefactory.pipeline.licences import require_acceptance
from imagefactory.pipeline.result import Options, Result
from imagefactory.pipeline.session import Session
from imagefactory.pipeline.specs import (
    Planned,
    Unlocked,
    debug_image,
    make_spec,
    plan_context,
    plan_images,
)
from imagefactory.pipeline.stock import Stock, prune_store, stock, verify_store
from imagefactory.pipeline.wrappers import wrap_image

__all__ = [
    "Options",
    "Planned",
    "Result",
    "Session",
    "Stock",
    "Unlocked",
    "build_images",
    "bundle_images",
    "debug_image",
    "fetch_images",
    "lock_images",
    "make_spec",
    "plan_context",
    "plan_images",
    "prune_store",
    "read_bundle",
    "require_acceptance",
    "stock",
    "test_images",
    "unlocked",
    "verify_store",
    "wrap_image",
]
