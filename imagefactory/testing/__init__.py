"""Tests of built images: the recipe's own smoke tests, and the contract that every image keeps."""

from imagefactory.testing.cluster import CONTAINED, cluster_tests
from imagefactory.testing.compare import difference
from imagefactory.testing.contract import contract_tests
from imagefactory.testing.smoke import not_true, smoke_test

__all__ = ["CONTAINED", "cluster_tests", "contract_tests", "difference", "not_true", "smoke_test"]
