"""The commands that hand something to others: wrappers, launch, raw, upload, bundle, unbundle."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imagefactory.cli import words
from imagefactory.cli.calling import pasteable
from imagefactory.cli.naming import named_images, selected
from imagefactory.cli.runs import ask_person, conclude, fail, print_json, unwatched, watched
from imagefactory.cli.text import size
from imagefactory.errors import BadInput, FactoryError
from imagefactory.system.workspace import find_workspace

if TYPE_CHECKING:
    from imagefactory.targets.common.launchers import Wrapped


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
    "kind",
    type=words.Kind(),
    help="Run this kind of image; one that is a file is copied there.  [a file where there is one]",
)
@words.as_json
@click.pass_obj
def wrappers(root: Path, names: tuple[str, ...], to: Path, kind: str | None, as_json: bool) -> None:
    """Write a launcher for each command of an image, and a module file.

    With DIR/modulefiles in MODULEPATH, a researcher types module load NAME, then the command. It runs in the
    container as its caller, with the caller's home, working folder, desktop and GPU.
    """
    from imagefactory.deliver.wrap import wrap
    from imagefactory.targets.kind import Launched

    workspace = find_workspace(root)
    session = unwatched(workspace)
    kind = kind or session.kinds.having(Launched)[-1].name
    written, errors = [], []
    for image in named_images(workspace, names):
        try:
            written.append(wrap(workspace, session.resolver, session.kinds, image, kind, to))
        except FactoryError as error:  # the others are none the worse for it
            errors.append(error)
    if as_json:
        print_json(
            [
                {
                    "id": item.id,
                    "folder": str(item.folder),
                    "module": str(item.module),
                    "commands": list(item.commands),
                }
                for item in written
            ]
        )
    else:
        _show_wrapped(written, to)
    fail(errors)


def _show_wrapped(written: Sequence[Wrapped], to: Path) -> None:
    for item in written:
        count = len(item.commands)
        click.echo(f"{item.id}: {count} command{'s' if count != 1 else ''} in {item.folder}/bin")
    if not written:
        return
    module = written[0].module
    loaded = module.parent.name if len(written) == 1 else f"{module.parent.name}/{module.name}"
    click.echo(f"to use them: module use {to.resolve()}/modulefiles && module load {loaded}")


@click.command(short_help="Write files that start a server on an OpenStack cloud.")
@words.name
@click.option(
    "--print",
    "tool",
    required=True,
    type=click.Choice(["terraform", "openstack", "ansible", "occopus", "cloud-init"]),
    help="For this tool.",
)
@click.option("--to", type=words.new_folder, help="Write the files into this folder.  [standard output]")
@click.option(
    "--image",
    metavar="UUID",
    default="",
    help="The image by its UUID in Glance, always the very same.  [the newest of its name]",
)
@click.option("--cloud", metavar="NAME", default="", help="Entry of clouds.yaml.  [as OS_CLOUD says]")
@click.option(
    "--from",
    "allowed",
    metavar="CIDR",
    default="",
    help="Let in these addresses alone, such as 192.0.2.0/24.  [ssh: all; remote desktop: none]",
)
@click.pass_obj
def launch(root: Path, name: str, tool: str, to: Path | None, image: str, cloud: str, allowed: str) -> None:
    """Write files that start a server on an OpenStack cloud from an image there, and remove it again.

    With a key pair, a security group that lets in ssh (and remote desktop, for images with a desktop), and a
    data volume. They hold no secret, and the recipe is all that they need: nothing is built or asked.
    """
    from imagefactory.deliver.kits import Wishes, kit_files, write_kit

    workspace = find_workspace(root)
    images = named_images(workspace, (name,))
    if len(images) != 1:
        raise BadInput(
            f"a server is started from one image, and {name} is {len(images)}",
            hint=f"name one of {', '.join(each.selector for each in images)}",
        )
    files = kit_files(images[0], tool, Wishes(image, cloud, allowed))
    if to:
        for path in write_kit(files, to):
            click.echo(path)
    elif len(files) == 1:
        click.echo(files[0].data, nl=False)
    else:
        raise BadInput(
            f"the files for {tool} are {len(files)}: {', '.join(file.path for file in files)}",
            hint="give the folder to write them into with --to DIR",
        )


@click.command(short_help="Write VM images uncompressed, too.")
@words.some_names
@words.loudness
@words.as_json
@click.pass_obj
def raw(root: Path, names: tuple[str, ...], loudness: str, as_json: bool) -> None:
    """Write the disk of each VM image uncompressed beside it in build/, for clouds that keep images on Ceph.

    It is the same disk, of the same build, and its sha256 is in the report. It takes little more of this
    machine's disk than it holds, and all of its size where it is copied.
    """
    from imagefactory.drive.uncompressed import have_raw

    workspace = find_workspace(root)
    images = named_images(workspace, names)
    with watched(workspace, loudness, as_json) as session:
        results = [have_raw(session, image) for image in images]
    if as_json:
        written = [result.report.raw for result in results if result.report and result.report.raw]
        print_json([each.model_dump() for each in written])
    for result in results:
        held = result.report.raw if result.report else None
        if held and not as_json:
            click.echo(f"build/{result.name}/{held.file}: {size(held.bytes)}, {held.digest}")
    fail([result.error for result in results if result.error])


@click.command(short_help="Send VM images to an OpenStack cloud.")
@words.some_names
@click.option("--cloud", "name", metavar="NAME", default="", help="Entry of clouds.yaml.  [as OS_CLOUD says]")
@click.option("--raw", is_flag=True, help="The uncompressed disks that imagefactory raw wrote, for Ceph.")
@words.loudness
@words.as_json
@click.pass_obj
def upload(root: Path, names: tuple[str, ...], name: str, raw: bool, loudness: str, as_json: bool) -> None:
    """Send the disk of each VM image to the image service of an OpenStack cloud, under the image's name, and
    verify there that it arrived.

    It is the very file that was tested: nothing is built or run. An image that is there already is not sent
    again. What others see of it is said in the site settings (cloud_images).
    """
    from imagefactory.drive.uploading import upload_image
    from imagefactory.publish.cloud import Cloud

    workspace = find_workspace(root)
    images = named_images(workspace, names)
    sent, errors = [], []
    with watched(workspace, loudness, as_json) as session:
        cloud = Cloud(name, session.stop)
        for image in images:
            shown = session.progress
            shown.phase(image.id, f"uploading to {cloud.shown}")
            try:
                done = upload_image(session, image, cloud, partial(shown.amount, image.id), raw=raw)
                shown.done(image.id, True, "was there" if done.was_there else "uploaded and verified")
                sent.append(done)
            except FactoryError as error:  # the others are none the worse for it
                shown.done(image.id, False, "not uploaded")
                errors.append(error)
    if as_json:
        print_json([asdict(each) for each in sent])
    else:
        for each in sent:
            there = ", was there" if each.was_there else ""
            click.echo(f"{each.name}: {each.id}, {size(each.bytes)}{there}")
    fail(errors)


@click.command(short_help="Write all that builds images into one file.")
@words.some_names
@click.option("--to", type=words.new_file, help="Write this file.  [build/bundles/…]")
@words.full_data
@words.accept_licence
@words.loudness
@click.pass_obj
def bundle(
    root: Path,
    names: tuple[str, ...],
    to: Path | None,
    full: bool,
    accept_licence: tuple[str, ...],
    loudness: str,
) -> None:
    """Write recipe, lock, inputs, base image and rendered files into one file, from which a machine with
    no network at all builds the same digest: there run imagefactory unbundle FILE.
    """
    from imagefactory.drive.licences import require_acceptance
    from imagefactory.drive.preparing import bundle_images
    from imagefactory.system.site import load_site

    workspace = find_workspace(root)
    selection = selected(workspace, names)
    if selection.bases:
        raise BadInput(f"{selection.bases[0]} is a base image: it goes with the images on it")
    require_acceptance(selection.images, accept_licence, load_site(workspace), ask_person())
    with watched(workspace, loudness, full=full) as session:
        file, count, results = bundle_images(session, selection, to)
    if file is None:
        conclude(results, False, table=False)
    click.echo(f"{file}: {size(count)}")


@click.command(short_help="Make a checkout of a bundle.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--to", type=words.new_folder, help="Folder to make.  [named as the file]")
def unbundle(file: Path, to: Path | None) -> None:
    """Take a bundle's inputs into the store, and make a checkout that builds without any network."""
    from imagefactory.deliver.unbundle import read_bundle
    from imagefactory.system.site import load_site
    from imagefactory.system.workspace import Workspace

    target = (to or Path(file.name.removesuffix(".tar").removesuffix(".bundle"))).absolute()
    images = read_bundle(file, target, load_site(Workspace(Path.cwd())))
    click.echo(f"{target}: {', '.join(images)}; now run")
    click.echo(pasteable(f"  imagefactory --root {shlex.quote(str(target))} build {' '.join(images)}"))


ALL = (bundle, unbundle)
LAST = (wrappers, launch, raw, upload)
