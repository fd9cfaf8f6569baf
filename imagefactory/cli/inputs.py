"""The commands about inputs: lock, fetch, store, bundle."""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path

import click

from imagefactory.cli import words
from imagefactory.cli.run import ask_person, conclude, print_json, session_of
from imagefactory.errors import BadInput
from imagefactory.workspace import find_workspace

DAY = 86400


@click.command(short_help="Pin every input of every image, by its sha256.")
@words.names
@click.option("--upgrade", is_flag=True, help="Take what upstreams have today, instead of what fits still.")
@click.option("--check", is_flag=True, help="Only say what is not locked; status 1 if anything is not.")
@words.verbose
@words.as_json
@click.pass_obj
def lock(
    root: Path, names: tuple[str, ...], upgrade: bool, check: bool, verbose: bool, as_json: bool
) -> None:
    """Resolve inputs to exact files and write lock.yaml beside each recipe; commit it.

    What is locked for what is asked for stays as it is, to the byte. NAME may be a base image, whose
    packages are locked in base_images/NAME.lock.yaml; without a NAME, all are meant.
    """
    from imagefactory.bases import base_names
    from imagefactory.cli import tables
    from imagefactory.pipeline.images import lock_images, unlocked
    from imagefactory.plan import select
    from imagefactory.site import load_site

    workspace = find_workspace(root)
    if check and upgrade:
        raise BadInput("--check changes nothing, so it cannot go with --upgrade")
    selection = select(workspace, names)
    if not names:
        selection = dataclasses.replace(selection, bases=tuple(base_names(workspace)))
    if check:
        found = unlocked(workspace, selection, load_site(workspace))
        if as_json:
            print_json([{"id": name, "reason": reason} for name, reason in found])
        else:
            tables.show_unlocked(found)
        sys.exit(1 if found else 0)
    with session_of(workspace, verbose) as session:
        results = lock_images(session, selection, upgrade=upgrade)
    if not as_json:
        tables.show_locks(results)
    conclude(results, as_json, table=False)


@click.command(short_help="Fetch every locked input into the store.")
@words.names
@words.accept_licence
@words.verbose
@words.as_json
@click.pass_obj
def fetch(
    root: Path, names: tuple[str, ...], accept_licence: tuple[str, ...], verbose: bool, as_json: bool
) -> None:
    """Fetch what the store lacks, check each file against its sha256, and keep it.

    A download that broke off is carried on. What is not locked is locked first.
    """
    from imagefactory.cli import tables
    from imagefactory.pipeline.images import fetch_images
    from imagefactory.pipeline.licences import require_acceptance
    from imagefactory.plan import select
    from imagefactory.site import load_site

    workspace = find_workspace(root)
    selection = select(workspace, names)
    require_acceptance(selection.images, accept_licence, load_site(workspace), ask_person())
    with session_of(workspace, verbose) as session:
        results = fetch_images(session, selection)
    if not as_json:
        tables.show_fetched(results)
    conclude(results, as_json, table=False)


@click.group(short_help="List, verify or prune the store of inputs.")
def store() -> None:
    """The store keeps every fetched input, by its sha256; all checkouts of a user share it."""


@store.command("list")
@words.as_json
@click.pass_obj
def store_list(root: Path, as_json: bool) -> None:
    """List what the store holds, and what this checkout uses it for."""
    from imagefactory.cli import tables
    from imagefactory.pipeline.stock import Stock, stock

    found: Stock = stock(find_workspace(root))
    if as_json:
        print_json(tables.stock(found))
    else:
        tables.show_stock(found)


@store.command("verify")
@click.pass_obj
def store_verify(root: Path) -> None:
    """Read every file again, and remove those that are damaged."""
    from imagefactory.pipeline.stock import verify_store

    count, damaged = verify_store(find_workspace(root))
    for stored in damaged:
        click.echo(f"{stored.sha256}: damaged, and removed: the next fetch brings it again", err=True)
    click.echo(f"{count} files: {len(damaged) or 'none'} damaged")
    sys.exit(1 if damaged else 0)


@store.command("prune")
@click.option(
    "--unused-for",
    type=click.IntRange(min=0),
    default=30,
    show_default=True,
    metavar="DAYS",
    help="Remove what no build has used for so long, and no lock of this checkout names.",
)
@click.pass_obj
def store_prune(root: Path, unused_for: int) -> None:
    """Remove what is no longer needed."""
    from imagefactory.cli.tables import size
    from imagefactory.pipeline.stock import prune_store

    removed = prune_store(find_workspace(root), time.time() - unused_for * DAY)
    files = f"{len(removed)} file{'s' if len(removed) != 1 else ''}"
    click.echo(f"removed {files}, {size(sum(stored.bytes for stored in removed))}")


@click.command(short_help="Write all that builds images into one file.")
@words.some_names
@click.option("--to", type=words.new_file, help="Write this file.  [build/bundles/…]")
@words.accept_licence
@words.verbose
@click.pass_obj
def bundle(
    root: Path, names: tuple[str, ...], to: Path | None, accept_licence: tuple[str, ...], verbose: bool
) -> None:
    """Write recipe, lock, inputs, base image and rendered files into one file, from which a machine with
    no network at all builds the same digest: there run imagefactory unbundle FILE.
    """
    from imagefactory.cli.tables import size
    from imagefactory.pipeline.images import bundle_images
    from imagefactory.pipeline.licences import require_acceptance
    from imagefactory.plan import select
    from imagefactory.site import load_site

    workspace = find_workspace(root)
    selection = select(workspace, names)
    if selection.bases:
        raise BadInput(f"{selection.bases[0]} is a base image: it goes with the images on it")
    require_acceptance(selection.images, accept_licence, load_site(workspace), ask_person())
    with session_of(workspace, verbose) as session:
        file, count, results = bundle_images(session, selection, to)
    if file is None:
        conclude(results, False, table=False)
    click.echo(f"{file}: {size(count)}")


@click.command(short_help="Make a checkout of a bundle.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--to", type=words.new_folder, help="Folder to make.  [named as the file]")
def unbundle(file: Path, to: Path | None) -> None:
    """Take a bundle's inputs into the store, and make a checkout that builds without any network."""
    from imagefactory.pipeline.bundle import read_bundle
    from imagefactory.site import load_site
    from imagefactory.workspace import Workspace

    target = (to or Path(file.name.removesuffix(".tar").removesuffix(".bundle"))).absolute()
    images = read_bundle(file, target, load_site(Workspace(Path.cwd())))
    click.echo(f"{target}: {', '.join(images)}; now run")
    click.echo(f"  imagefactory --root {target} build {' '.join(images)}")


ALL = (lock, fetch, store, bundle, unbundle)
