"""The recipes as they are kept, built from the registries that they name. Slow, and large."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.engines.bench import REPOSITORY, Bench
from tests.engines.conftest import engines  # noqa: F401  # a fixture


@pytest.fixture(scope="session")
def kept(engines: None, tmp_path_factory: pytest.TempPathFactory) -> Bench:  # noqa: F811
    """A checkout with every recipe and without locks: what registries have today is what is tested.

    The store is the user's own, so that gigabytes are fetched once.
    """
    root = tmp_path_factory.mktemp("kept")
    for name in ("recipes", "base_images"):
        shutil.copytree(REPOSITORY / name, root / name, ignore=shutil.ignore_patterns("*lock.yaml"))
    site = os.environ.get("IMAGEFACTORY_SITE") or str(REPOSITORY / "site.yaml")
    return Bench(root, {"IMAGEFACTORY_SITE": site if Path(site).is_file() else None})
