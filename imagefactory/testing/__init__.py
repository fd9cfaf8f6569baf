"""Tests of built images: the recipe's own smoke tests, and the contract that every image keeps."""

from imagefactory.testing.contract import contract_tests
from imagefactory.testing.smoke import not_true, smoke_test

__all__ = ["contract_tests", "not_true", "smoke_test"]
