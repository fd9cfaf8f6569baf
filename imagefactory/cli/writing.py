"""The commands for those who write recipes: new, check, render, schema."""

from __future__ import annotations

import contextlib
import functools
import sys
from pathlib import Path

import click

from imagefactory.cli import words
from imagefactory.cli.calling import pasteable
from imagefactory.cli.naming import named_images
from imagefactory.cli.runs import print_json, unwatched
from imagefactory.errors import BadFiles, BadInput, NotLocked
from imagefactory.system.workspace import find_workspace


@click.command()
@click.argument("name")
@click.pass_obj
def new(root: Path, name: str) -> None:
    """Write a new recipe folder that builds and passes at once."""
    from imagefactory.definitions.recipes import new_recipe
    from imagefactory.plan import known_names

    workspace = find_workspace(root)
    if name in known_names(workspace):
        raise BadInput(f"there is an image, recipe or base image called '{name}' already")
    folder = new_recipe(workspace, name)
    click.echo(f"wrote {workspace.shown(folder)}/; now edit recipe.yaml, then run")
    click.echo(pasteable(f"  imagefactory build {name}"))


@click.command("import", short_help="Write a recipe from another tool's.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", metavar="NAME", default="", help="The new recipe's name.  [default: as it is called]")
@click.option(
    "--base",
    metavar="NAME",
    default="",
    shell_complete=words.complete_bases,
    help="Its base image.  [default: that of FILE's release, or debian-12]",
)
@click.option("--dockerfile", is_flag=True, help="FILE is a Dockerfile, whatever it is called.")
@words.as_json
@click.pass_obj
def import_(root: Path, file: Path, name: str, base: str, dockerfile: bool, as_json: bool) -> None:
    """Write a recipe folder from a recipe of another tool.

    FILE is a build.yaml of neurocontainers, a specification of neurodocker in JSON, a text with its command
    line, or a Dockerfile. What can be translated is; what can't stands as a comment at its place, with the
    reason, and install.sh stops there. A table says how much that is. Nothing is run or downloaded.
    """
    from imagefactory.cli.show_imports import as_values, show_import
    from imagefactory.importing import read_foreign, write_import
    from imagefactory.plan import known_names

    workspace = find_workspace(root)
    described = read_foreign(file, dockerfile=dockerfile)
    imported = write_import(workspace, described, name, base, known_names(workspace))
    if as_json:
        print_json(as_values(workspace, imported))
    else:
        show_import(workspace, imported)
    if imported.problems:
        raise BadFiles(imported.problems)


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


@click.command(short_help="Write the Dockerfile and the .def of an image, and what they need.")
@words.names
@click.option("--all", "everything", is_flag=True, help="Render every image.")
@click.option("--to", type=words.new_folder, help="Write below this folder.")
@click.option(
    "--payload",
    type=words.new_file,
    help="Write to this file what Packer's template puts into a virtual machine; the image must be built.",
)
@click.pass_obj
def render(
    root: Path, names: tuple[str, ...], everything: bool, to: Path | None, payload: Path | None
) -> None:
    """Write an image's Dockerfile, its Apptainer definition file and Packer's template, and what they need to
    build by themselves.

    They go to build/NAME/context, or to a folder NAME below the one given with --to. Needs no
    engine, and no network. Of an image whose inputs are not locked, they pin no versions, and say so:
    whoever builds them gets what upstreams have then. The factory itself never builds from those.
    """
    from imagefactory.drive.tasks import pack_target
    from imagefactory.system.files import may_write, write_files

    if bool(names) == everything:
        raise BadInput("name the images to render, or give --all")
    workspace = find_workspace(root)
    session = unwatched(workspace)
    images = named_images(workspace, names)
    if payload and len(images) != 1:
        raise BadInput(f"--payload takes one image, and these are {len(images)}")
    for image in images:
        try:
            files = session.resolver.render(image)
        except NotLocked as error:
            files = session.resolver.render_unpinned(image)
            click.echo(f"{error.message}: rendered without pinned versions", err=True)
            click.echo(pasteable(f"  → imagefactory lock {image.id} pins them"), err=True)
        home = session.home(image.id)
        folder = to / image.id if to else home.context
        if not may_write(folder):
            raise BadInput(f"{folder} holds something else", hint="give an empty folder with --to")
        waiting = functools.partial(click.echo, f"{image.id}: waiting for another build of it", err=True)
        with contextlib.nullcontext() if to else home.locked(waiting, session.stop):
            write_files(folder, files, mark=True)
        click.echo(folder if to else workspace.shown(folder))
        if payload:
            pack_target(session, image, payload)
            click.echo(payload)
        session.resolver.forget(image.id)


@click.command(short_help="Print the JSON Schema of a kind of file.")
@click.argument(
    "kind",
    type=click.Choice(["recipe", "part", "base", "lock", "fetched", "site", "report", "history"]),
    default="recipe",
)
def schema(kind: str) -> None:
    """Print the JSON Schema of recipe.yaml, part.yaml, base images' files, lock.yaml, fetched.yaml,
    site.yaml, report.json or history.json.
    """
    from imagefactory.cli.schema import schema_of

    print_json(schema_of(kind))


@click.command(short_help="Print a shell's completion script.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell, such as: source <(imagefactory completion bash)

    It completes the command by its name, by its path, and by any alias that is set before.
    """
    from imagefactory.cli.completion import completion_script

    click.echo(completion_script(shell, ctx.find_root().command))


FIRST = (new, import_, check)
LAST = (render,)
LEAST = (schema, completion)
