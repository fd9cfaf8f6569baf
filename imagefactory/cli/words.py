"""Words that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imagefactory.errors import FactoryError
from imagefactory.workspace import find_workspace

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    from imagefactory.plan import known_names

    try:
        names = known_names(find_workspace(Path()))
    except FactoryError:
        return []
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


class _Place(click.Path):
    """A path that is to be written. An empty one, as of a variable that is not set, is not this folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not str(value):
            self.fail("it is empty", param, ctx)
        return super().convert(value, param, ctx)


new_folder = _Place(file_okay=False, path_type=Path)
new_file = _Place(dir_okay=False, path_type=Path)
name = click.argument("name", shell_complete=_complete)
names = click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=_complete)
some_names = click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=_complete)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for a program to read.")
verbose = click.option("-v", "--verbose", is_flag=True, help="Show every line that a build writes.")
accept_licence = click.option(
    "--accept-licence",
    metavar="RECIPE",
    multiple=True,
    help="Accept the licence of a recipe that asks for it, once and for all.",
)
