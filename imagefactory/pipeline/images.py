"""Build and test several images at once, on local workers."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

from imagefactory.backends.protocol import Backend
from imagefactory.errors import FactoryError, Interrupted
from imagefactory.log import Progress
from imagefactory.model.spec import ImageDefinition
from imagefactory.pipeline.bases import ensure_base
from imagefactory.pipeline.one import build_one, test_one
from imagefactory.pipeline.result import Options, Result
from imagefactory.pipeline.sweep import sweep
from imagefactory.plan import Selection
from imagefactory.run import Stop
from imagefactory.workspace import Workspace


def build_images(
    workspace: Workspace,
    selection: Selection,
    backend: Backend,
    progress: Progress,
    stop: Stop,
    options: Options,
) -> list[Result]:
    """Bring every image up to date; one that fails does not stop the others.

    Base images that were named are made again; those that are only needed, if they are missing.
    Raises Interrupted after everything that ran has ended.
    """
    sweep(workspace, backend)
    results = []
    needed = {image.base for image in selection.images} | set(selection.bases)
    broken: dict[str, FactoryError] = {}
    for name in sorted(needed):
        again = name in selection.bases
        result = ensure_base(workspace, name, backend, progress, stop, again=again)
        if result.error:
            broken[name] = result.error
        if again or result.error or result.action != "nothing":
            results.append(result)
    images = [image for image in selection.images if image.base not in broken]

    def work(image: ImageDefinition) -> Result:
        return build_one(workspace, image, backend, progress, stop, options)

    return results + _in_parallel(work, images, stop)


def test_images(
    workspace: Workspace,
    images: Sequence[ImageDefinition],
    backend: Backend,
    progress: Progress,
    stop: Stop,
) -> list[Result]:
    """Test images as they are, without building any. Raises Interrupted."""
    sweep(workspace, backend)

    def work(image: ImageDefinition) -> Result:
        return test_one(workspace, image, backend, progress, stop)

    return _in_parallel(work, images, stop)


def _in_parallel(
    work: Callable[[ImageDefinition], Result], images: Sequence[ImageDefinition], stop: Stop
) -> list[Result]:
    # Two at a time: BuildKit and most compilers use all cores by themselves.
    with ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        futures: list[Future[Result]] = [pool.submit(work, image) for image in images]
        try:
            wait(futures)
        except BaseException:  # a signal: end what runs, then leave
            stop.now()
            for future in futures:
                future.cancel()
            raise
    if stop:
        raise Interrupted("interrupted")
    return [future.result() for future in futures]
