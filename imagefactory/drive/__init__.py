"""The way of an image: lock, fetch, render, build, test, keep."""
