"""The commands' words and what they call; everything heavy is imported only when it is used."""

from __future__ import annotations

import contextlib
import functools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imagefactory.errors import BadFiles, BadInput, FactoryError, Problem
from imagefactory.workspace import Workspace, find_workspace

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from imagefactory.backends.protocol import Backend
    from imagefactory.model.spec import ImageDefinition
    from imagefactory.pipeline import Result


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    from imagefactory.plan import known_names

    try:
        names = known_names(find_workspace(Path()))
    except FactoryError:
        return []
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


_name = click.argument("name", shell_complete=_complete)
_names = click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=_complete)
_some_names = click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=_complete)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for a program to read.")
_verbose = click.option("-v", "--verbose", is_flag=True, help="Show every line that a build writes.")


@click.command("list")
@_names
@_json
@click.pass_obj
def list_(root: Path, names: tuple[str, ...], as_json: bool) -> None:
    """List images, and how each was last built."""
    from imagefactory.cli import tables
    from imagefactory.records import record_of

    workspace = find_workspace(root)
    images, problems = _readable_images(workspace, names)
    reports = {image.id: record_of(workspace, image.id).read() for image in images}
    if as_json:
        _print_json([tables.summary(image, reports[image.id]) for image in images])
    else:
        tables.show_list(images, reports)
    if problems:
        raise BadFiles(problems)


@click.command()
@_name
@_json
@click.pass_obj
def show(root: Path, name: str, as_json: bool) -> None:
    """Show one image: its recipe, and its last build and tests."""
    from imagefactory.cli import tables
    from imagefactory.records import record_of

    workspace = find_workspace(root)
    details = []
    for image in _images(workspace, (name,)):
        report = record_of(workspace, image.id).read()
        if as_json:
            details.append(tables.details(image, report))
        else:
            tables.show_image(image, report)
    if as_json:
        _print_json(details)


@click.command()
@click.argument("name")
@click.pass_obj
def new(root: Path, name: str) -> None:
    """Write a new recipe folder that builds and passes at once."""
    from imagefactory.plan import known_names
    from imagefactory.recipes import new_recipe

    workspace = find_workspace(root)
    if name in known_names(workspace):
        raise BadInput(f"there is an image, recipe or base image called '{name}' already")
    folder = new_recipe(workspace, name)
    click.echo(f"wrote {workspace.shown(folder)}/; now edit recipe.yaml, then run")
    click.echo(f"  imagefactory build {name}")


@click.command(short_help="Report every problem of every recipe.")
@_names
@_json
@click.pass_obj
def check(root: Path, names: tuple[str, ...], as_json: bool) -> None:
    """Check recipes and base images; report every problem of every file."""
    from imagefactory.cli.check import check_all

    workspace = find_workspace(root)
    problems, count = check_all(workspace, names)
    if as_json:
        _print_json(
            [{"path": p.path, "line": p.line, "column": p.column, "message": p.message} for p in problems]
        )
        sys.exit(2 if problems else 0)
    if problems:
        raise BadFiles(problems)
    click.echo(f"{count} image{'s' if count != 1 else ''}: no problems")


@click.command()
@_names
@_json
@click.pass_obj
def plan(root: Path, names: tuple[str, ...], as_json: bool) -> None:
    """Say what a build would do, and why. Builds nothing."""
    from imagefactory.cli import tables
    from imagefactory.pipeline import plan_images

    workspace = find_workspace(root)
    images, problems = _readable_images(workspace, names)
    planned = plan_images(workspace, images, _backend(workspace))
    if as_json:
        _print_json([tables.planned(item) for item in planned])
    else:
        tables.show_plan(planned)
    if problems:
        raise BadFiles(problems)


@click.command(short_help="Write the Dockerfile of an image, and what it needs.")
@_names
@click.option("--all", "everything", is_flag=True, help="Render every image.")
@click.option("--to", type=click.Path(file_okay=False, path_type=Path), help="Write below this folder.")
@click.pass_obj
def render(root: Path, names: tuple[str, ...], everything: bool, to: Path | None) -> None:
    """Write the Dockerfile of an image and the files it needs, to build by itself anywhere.

    They go to build/NAME/context, or to a folder NAME below the one given with --to. Needs no
    engine.
    """
    from imagefactory.pipeline import plan_context
    from imagefactory.records import record_of, write_files
    from imagefactory.run import Stop

    if bool(names) == everything:
        raise BadInput("name the images to render, or give --all")
    workspace = find_workspace(root)
    backend = _backend(workspace)
    for image in _images(workspace, names):
        files = plan_context(workspace, image, backend).files
        record = record_of(workspace, image.id)
        folder = to / image.id if to else record.context
        if folder.exists() and not _was_rendered(folder):
            raise BadInput(f"{folder} holds something else", hint="give an empty folder with --to")
        with (
            contextlib.nullcontext()
            if to
            else record.locked(functools.partial(_say_waiting, image.id), Stop())
        ):
            write_files(folder, files)
        click.echo(folder if to else workspace.shown(folder))


@click.command()
@_some_names
@click.option(
    "--format",
    "format_",
    type=click.Choice(["oci"]),
    default="oci",
    help="Kind of image.",
    show_default=True,
)
@click.option("--no-cache", is_flag=True, help="Use nothing of earlier builds.")
@click.option("--debug-shell", is_flag=True, help="Open a shell in the step that breaks.")
@_verbose
@_json
@click.pass_obj
def build(
    root: Path,
    names: tuple[str, ...],
    format_: str,
    no_cache: bool,
    debug_shell: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    """Build and test what is out of date, and say why. NAME may be a base image too.

    An image gets its name (imagefactory/NAME) only when all of its tests have passed.
    """
    from imagefactory.pipeline import Options, build_images
    from imagefactory.plan import select

    workspace = find_workspace(root)
    selection = select(workspace, names)
    if debug_shell and (len(selection.images) != 1 or selection.bases):
        raise BadInput("--debug-shell takes exactly one image")
    if debug_shell and not sys.stdin.isatty():
        raise BadInput("--debug-shell needs a terminal")
    backend = _backend(workspace)
    with _watch(verbose) as (progress, stop):
        results = build_images(workspace, selection, backend, progress, stop, Options(cache=not no_cache))
    if debug_shell:
        _debug(workspace, backend, selection.images[0], results)
    _conclude(results, as_json)


@click.command()
@_some_names
@_verbose
@_json
@click.pass_obj
def test(root: Path, names: tuple[str, ...], verbose: bool, as_json: bool) -> None:
    """Run the tests of built images again, without building."""
    from imagefactory.pipeline import test_images

    workspace = find_workspace(root)
    images = _images(workspace, names)
    with _watch(verbose) as (progress, stop):
        results = test_images(workspace, images, _backend(workspace), progress, stop)
    _conclude(results, as_json)


@click.command(short_help="Print the JSON Schema of a kind of file.")
@click.argument("kind", type=click.Choice(["recipe", "base", "report"]), default="recipe")
def schema(kind: str) -> None:
    """Print the JSON Schema of recipe.yaml, of base images' files or of report.json."""
    from imagefactory.cli.schema import schema_of

    _print_json(schema_of(kind))


@click.command(short_help="Print a shell's completion script.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell, such as: source <(imagefactory completion bash)"""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(ctx.find_root().command, {}, "imagefactory", "_IMAGEFACTORY_COMPLETE").source())


ALL = (build, test, plan, list_, show, new, check, render, schema, completion)


def _images(workspace: Workspace, names: tuple[str, ...]) -> tuple[ImageDefinition, ...]:
    """The images that were named. A base image is none of them: it has no recipe."""
    from imagefactory.plan import select

    selection = select(workspace, names)
    if selection.bases:
        raise BadInput(
            f"{selection.bases[0]} is a base image, not one that a recipe makes",
            hint="only build and check take base images",
        )
    return selection.images


def _readable_images(
    workspace: Workspace, names: tuple[str, ...]
) -> tuple[Sequence[ImageDefinition], Sequence[Problem]]:
    """The images that were named; for no name, all that can be read, and what is wrong with the rest."""
    from imagefactory.recipes import load_images, recipe_names

    try:
        return _images(workspace, names), ()
    except BadFiles as error:
        if names:
            raise
        problems = error.problems
    found: list[ImageDefinition] = []
    for recipe in recipe_names(workspace):
        with contextlib.suppress(BadFiles):
            found += load_images(workspace, [recipe])
    return found, problems


def _was_rendered(folder: Path) -> bool:
    """Whether the folder is empty or holds what an earlier run wrote there."""
    ours = {"Dockerfile", "environment.sh", "entrypoint.sh", "recipe"}
    return folder.is_dir() and {path.name for path in folder.iterdir()} in (set(), ours)


def _say_waiting(id: str) -> None:
    click.echo(f"{id}: waiting for another build of it", err=True)


def _backend(workspace: Workspace) -> Backend:
    from imagefactory.backends.docker import DockerBackend

    return DockerBackend(workspace.key)


def _watch(verbose: bool) -> Any:
    from imagefactory.cli.progress import watch

    return watch(verbose=verbose)


def _debug(workspace: Workspace, backend: Backend, image: ImageDefinition, results: list[Result]) -> None:
    """Open a shell where the build of ``image`` broke, if it did."""
    from imagefactory.cli.errors import show_error
    from imagefactory.errors import BuildFailed
    from imagefactory.pipeline import debug_image

    error = next((item.error for item in results if item.id == image.id), None)
    if isinstance(error, BuildFailed) and error.step:
        show_error(error)
        click.echo("opening a shell in that step; 'exit' leaves it, once more leaves buildx", err=True)
        debug_image(workspace, image, backend)


def _conclude(results: list[Result], as_json: bool) -> None:
    """The final table, the failures, and the exit status of the worst of them."""
    from imagefactory.cli import tables
    from imagefactory.cli.errors import show_error

    if as_json:
        _print_json([tables.result(item) for item in results])
    else:
        tables.show_results(results)
    errors = [item.error for item in results if item.error]
    for error in errors:
        show_error(error)
    sys.exit(max((error.exit_status for error in errors), default=0))


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
