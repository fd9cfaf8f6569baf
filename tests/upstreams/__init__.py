"""Upstreams for tests: servers, indexes, channels and sources that stand in for the real ones."""
