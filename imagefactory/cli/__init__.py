"""The command line: words in, progress and errors out. The only place that catches, prints and exits."""

from imagefactory.cli.main import main

__all__ = ["main"]
