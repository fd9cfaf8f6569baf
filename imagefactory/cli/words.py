"""Words that several commands take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click

from imagefactory.errors import FactoryError
from imagefactory.system.workspace import Workspace, find_workspace

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


Names = Callable[[Workspace], Iterable[str]]


def _names_in(ctx: click.Context, incomplete: str, names_of: Names) -> list[CompletionItem]:
    """What a word may become, of the names that the checkout has; nothing where there is none."""
    from click.shell_completion import CompletionItem

    try:
        names = names_of(find_workspace(ctx.find_root().params.get("root") or Path()))
    except FactoryError:
        return []
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from imagefactory.plan import known_names

    return _names_in(ctx, incomplete, known_names)


def complete_bases(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The base images of the checkout that images are built on."""
    from imagefactory.definitions.bases import container_bases

    return _names_in(ctx, incomplete, container_bases)


full = click.option("--full", is_flag=True, help="Run the recipe's full tests too, which may take hours.")
full_data = click.option("--full", is_flag=True, help="With what the recipe's full tests read.")


class Kind(click.ParamType):  # type: ignore[type-arg]  # generic in some releases
    """A kind of image, as the register has them when the command runs."""

    name = "kind"
    others: Mapping[str, str] = {}

    def choices(self) -> dict[str, str]:
        """The words that may be given, and what each is for."""
        from imagefactory.targets.register import lines

        return {**{line.name: line.purpose for line in lines("recipes")}, **self.others}

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return f"[{'|'.join(self.choices())}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value not in self.choices():
            self.fail(f"{value!r} is not one of {', '.join(self.choices())}", param, ctx)
        return value

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        fitting = {word: use for word, use in self.choices().items() if word.startswith(incomplete)}
        return [CompletionItem(word, help=use) for word, use in fitting.items()]


class Kinds(Kind):
    """One kind of image, or those that nobody has to ask for, or all of them: a list."""

    others = MappingProxyType({"containers": "for Docker and for clusters", "all": "for everybody"})

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, list):
            return value
        from imagefactory.targets.register import lines

        chosen = super().convert(value, param, ctx)
        if chosen not in self.others:
            return [chosen]
        return [line.name for line in lines("recipes") if chosen == "all" or not line.asked]


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
NORMAL, QUIET, VERBOSE = "normal", "quiet", "verbose"


def loudness(command: Callable[..., None]) -> Callable[..., None]:
    """How much a command shows of what it does; of both words, the last counts."""
    quiet = click.option(
        "-q", "--quiet", "loudness", flag_value=QUIET, help="Say nothing unless something fails."
    )
    verbose = click.option(
        "-v",
        "--verbose",
        "loudness",
        flag_value=VERBOSE,
        default=NORMAL,
        help="Show every line that a build writes, and every test.",
    )
    return verbose(quiet(command))


accept_licence = click.option(
    "--accept-licence",
    metavar="RECIPE",
    multiple=True,
    help="Accept the licence of a recipe that asks for it, once and for all.",
)
