"""Tests of what was built: the recipe's own smoke tests, and what every image keeps."""
