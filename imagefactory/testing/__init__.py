"""Tests of what was built: the recipe's own smoke tests, and what every image keeps."""

from imagefactory.testing.compare import difference
from imagefactory.testing.smoke import not_true, smoke_test

__all__ = ["difference", "not_true", "smoke_test"]
