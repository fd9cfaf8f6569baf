"""The commands' words and what they call; everything heavy is imported only when it is used."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imagefactory.cli import words
from imagefactory.cli.run import apptainer_of, ask_person, backend_of, conclude, print_json, session_of
from imagefactory.errors import BadFiles, BadInput, NotLocked, Problem
from imagefactory.workspace import Workspace, find_workspace

if TYPE_CHECKING:
    from imagefactory.model.spec import Format, ImageDefinition
    from imagefactory.pipeline.result import Result
    from imagefactory.pipeline.session import Session


@click.command("list")
@words.names
@words.as_json
@click.pass_obj
def list_(root: Path, names: tuple[str, ...], as_json: bool) -> None:
    """List images, and how each was last built."""
    from imagefactory.cli import tables
    from imagefactory.records import record_of

    workspace = find_workspace(root)
    images, problems = _readable_images(workspace, names)
    reports = {image.id: record_of(workspace, image.id).read() for image in images}
    if as_json:
        print_json([tables.summary(image, reports[image.id]) for image in images])
    else:
        tables.show_list(images, reports)
    if problems:
        raise BadFiles(problems)


@click.command()
@words.name
@words.as_json
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
        print_json(details)


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
@words.names
@words.as_json
@click.pass_obj
def check(root: Path, names: tuple[str, ...], as_json: bool) -> None:
    """Check recipes and base images; report every problem of every file."""
    from imagefactory.cli.check import check_all

    workspace = find_workspace(root)
    problems, count = check_all(workspace, names)
    if as_json:
        print_json(
            [{"path": p.path, "line": p.line, "column": p.column, "message": p.message} for p in problems]
        )
        sys.exit(2 if problems else 0)
    if problems:
        raise BadFiles(problems)
    click.echo(f"{count} image{'s' if count != 1 else ''}: no problems")


@click.command()
@words.names
@words.as_json
@click.pass_obj
def plan(root: Path, names: tuple[str, ...], as_json: bool) -> None:
    """Say what a build would do, and why. Builds nothing."""
    from imagefactory.cli import tables
    from imagefactory.pipeline.specs import plan_images
    from imagefactory.site import load_site

    workspace = find_workspace(root)
    images, problems = _readable_images(workspace, names)
    backend, converter = backend_of(workspace), apptainer_of()
    planned = plan_images(workspace, images, backend, converter, load_site(workspace))
    if as_json:
        print_json([tables.planned(item, sif) for item, sif in planned])
    else:
        tables.show_plan(planned)
    if problems:
        raise BadFiles(problems)


@click.command(short_help="Write the Dockerfile and the .def of an image, and what they need.")
@words.names
@click.option("--all", "everything", is_flag=True, help="Render every image.")
@click.option("--to", type=words.new_folder, help="Write below this folder.")
@click.pass_obj
def render(root: Path, names: tuple[str, ...], everything: bool, to: Path | None) -> None:
    """Write an image's Dockerfile, its Apptainer definition file, and what they need to build by themselves.

    They go to build/NAME/context, or to a folder NAME below the one given with --to. Needs no
    engine. With --all, images whose inputs are not locked are left out.
    """
    from imagefactory.pipeline.specs import plan_context
    from imagefactory.records import record_of, write_files
    from imagefactory.run import Stop
    from imagefactory.site import load_site

    if bool(names) == everything:
        raise BadInput("name the images to render, or give --all")
    workspace = find_workspace(root)
    backend, site = backend_of(workspace), load_site(workspace)
    for image in _images(workspace, names):
        try:
            files = plan_context(workspace, image, backend, apptainer_of(), site)
        except NotLocked as error:
            if not everything:
                raise
            click.echo(f"left out: {error.message}", err=True)
            continue
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
@words.some_names
@click.option(
    "--format",
    "format_",
    type=click.Choice(["oci", "sif", "all"]),
    default="all",
    help="For Docker, for clusters (and Docker, of whose image it is made), or all.",
    show_default=True,
)
@click.option("--no-cache", is_flag=True, help="Use nothing of earlier builds.")
@click.option("--locked", is_flag=True, help="Refuse what is not locked, instead of locking it.")
@words.accept_licence
@click.option("--debug-shell", is_flag=True, help="Open a shell in the step that breaks.")
@words.verbose
@words.as_json
@click.pass_obj
def build(
    root: Path,
    names: tuple[str, ...],
    format_: str,
    no_cache: bool,
    locked: bool,
    accept_licence: tuple[str, ...],
    debug_shell: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    """Build and test what is out of date, and say why. NAME may be a base image too.

    What is not locked is locked first, and what is not in the store is fetched; the build itself has no
    network. An image gets its name (imagefactory/NAME, build/NAME/NAME-VERSION-DIGEST.sif) only when all of
    its tests have passed.
    """
    from imagefactory.pipeline.images import build_images
    from imagefactory.pipeline.licences import require_acceptance
    from imagefactory.pipeline.result import Options
    from imagefactory.plan import select
    from imagefactory.site import load_site

    workspace = find_workspace(root)
    selection = select(workspace, names)
    if debug_shell and (len(selection.images) != 1 or selection.bases):
        raise BadInput("--debug-shell takes exactly one image")
    if debug_shell and not sys.stdin.isatty():
        raise BadInput("--debug-shell needs a terminal")
    require_acceptance(selection.images, accept_licence, load_site(workspace), ask_person())
    options = Options(cache=not no_cache, locked=locked, sif=format_ != "oci")
    with session_of(workspace, verbose) as session:
        results = build_images(session, selection, options)
    if debug_shell:
        _debug(session, selection.images[0], results)
    conclude(results, as_json)


@click.command()
@words.some_names
@words.verbose
@words.as_json
@click.pass_obj
def test(root: Path, names: tuple[str, ...], verbose: bool, as_json: bool) -> None:
    """Run the tests of built images and SIF files again, without building."""
    from imagefactory.pipeline.images import test_images

    workspace = find_workspace(root)
    images = _images(workspace, names)
    with session_of(workspace, verbose) as session:
        results = test_images(session, images)
    conclude(results, as_json)


@click.command(short_help="Write launchers and module files for researchers.")
@words.some_names
@click.option(
    "--to",
    required=True,
    type=words.new_folder,
    help="Write below this folder, which may be copied or mounted anywhere.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["oci", "sif"]),
    default="sif",
    help="Run the image in Docker, or the SIF file, which is copied there.",
    show_default=True,
)
@words.as_json
@click.pass_obj
def wrappers(root: Path, names: tuple[str, ...], to: Path, format_: Format, as_json: bool) -> None:
    """Write a launcher for each command of an image, and a module file.

    With DIR/modulefiles in MODULEPATH, a researcher types module load NAME, then the command. It runs in the
    container as its caller, with the caller's home, working folder, desktop and GPU.
    """
    from imagefactory.pipeline.wrappers import wrap_image

    workspace = find_workspace(root)
    found = [
        wrap_image(workspace, image, backend_of(workspace), format_, to)
        for image in _images(workspace, names)
    ]
    if as_json:
        keys = ("id", "folder", "module", "commands")
        print_json([{key: _plain(getattr(item, key)) for key in keys} for item in found])
        return
    for item in found:
        count = len(item.commands)
        click.echo(f"{item.id}: {count} command{'s' if count != 1 else ''} in {item.folder}/bin")
    click.echo(f"to use them: module use {to.resolve()}/modulefiles && module load {found[0].id}")


@click.command(short_help="Print the JSON Schema of a kind of file.")
@click.argument("kind", type=click.Choice(["recipe", "base", "lock", "site", "report"]), default="recipe")
def schema(kind: str) -> None:
    """Print the JSON Schema of recipe.yaml, base images' files, lock.yaml, site.yaml or report.json."""
    from imagefactory.cli.schema import schema_of

    print_json(schema_of(kind))


@click.command(short_help="Print a shell's completion script.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell, such as: source <(imagefactory completion bash)"""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(ctx.find_root().command, {}, "imagefactory", "_IMAGEFACTORY_COMPLETE").source())


FIRST = (build, test, plan, list_, show, new, check)
LAST = (render, wrappers, schema, completion)


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
    must = {"Dockerfile", "environment.sh", "entrypoint.sh", "recipe"}
    may = {"home.sh", "gpu.sh", "steps", "download"}
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else {""}
    there -= {name for name in there if name.endswith(".def")}
    return not there or must <= there <= must | may


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else str(value)


def _say_waiting(id: str) -> None:
    click.echo(f"{id}: waiting for another build of it", err=True)


def _debug(session: Session, image: ImageDefinition, results: list[Result]) -> None:
    """Open a shell where the build of ``image`` broke, if it did."""
    from imagefactory.cli.errors import show_error
    from imagefactory.errors import BuildFailed
    from imagefactory.pipeline.specs import debug_image

    error = next((item.error for item in results if item.id == image.id), None)
    if isinstance(error, BuildFailed) and error.step:
        show_error(error)
        click.echo("opening a shell in that step; 'exit' leaves it, once more leaves buildx", err=True)
        debug_image(session, image)
