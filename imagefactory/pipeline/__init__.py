"""The way of an image: render, build, test, keep."""

from imagefactory.pipeline.images import build_images, test_images
from imagefactory.pipeline.result import Options, Result
from imagefactory.pipeline.specs import Planned, debug_image, make_spec, plan_context, plan_images

__all__ = [
    "Options",
    "Planned",
    "Result",
    "build_images",
    "debug_image",
    "make_spec",
    "plan_context",
    "plan_images",
    "test_images",
]
