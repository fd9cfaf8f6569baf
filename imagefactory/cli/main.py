"""The commands, and what becomes of a failure: one clear line and an exit status."""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import click

from imagefactory.cli import delivering, freeing, inputs, looking, making, writing
from imagefactory.cli.errors import show_error
from imagefactory.cli.screen import without_secrets
from imagefactory.errors import FactoryError, Interrupted
from imagefactory.system.redact import keep_variables

_NEW_OBJECTS = 100_000  # beyond those that went, between two looks for rubbish


class _Group(click.Group):
    """Lists commands in the order in which people need them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    envvar="IMAGEFACTORY_ROOT",
    help="Checkout with recipes/ and base_images/.  [default: here or above]",
)
@click.version_option(package_name="imagefactory")
@click.pass_context
def cli(ctx: click.Context, root: Path) -> None:
    """Build, test and keep images of scientific applications, one recipe each.

    NAME is a recipe, which means all of its images (eso-vlt), one image (eso-vlt-muse), or a pattern in
    quotes ('eso-vlt-*'). The image that is called as its recipe is named with -default (eso-vlt-default).

    Exit status: 0 done, 1 a build or test failed, 2 bad input, 3 an engine is missing or does not
    answer, 130 interrupted.
    """
    ctx.obj = root


for command in (
    *making.ALL,
    looking.plan,
    looking.list_,
    looking.show,
    *writing.FIRST,
    *inputs.ALL,
    *delivering.ALL,
    *writing.LAST,
    *delivering.LAST,
    *freeing.ALL,
    *writing.LEAST,
):
    cli.add_command(command)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    # Most of what a command makes lives as long as it does: looking for rubbish often is a tenth of its work.
    gc.set_threshold(_NEW_OBJECTS, 10, 10)
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"  # it would look through every package for them
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, io.TextIOWrapper):
            output.reconfigure(errors="replace")  # a screen that cannot show a letter shows another
    sys.stdout, sys.stderr = without_secrets(sys.stdout), without_secrets(sys.stderr)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    keep_variables(os.environ)
    try:
        sys.exit(cli.main(args=arguments, prog_name="imagefactory", standalone_mode=False))
    except BrokenPipeError:  # such as `imagefactory list | head -1`
        sys.stderr.close()
        sys.exit(1)
    except Interrupted as error:
        click.echo(error.message, err=True)
        sys.exit(error.exit_status)
    except FactoryError as error:
        show_error(error)
        sys.exit(error.exit_status)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except OSError as error:  # a full disk, a folder one may not write to
        show_error(FactoryError(f"{error.filename or 'input or output'}: {error.strerror or error}"))
        sys.exit(1)
    except (KeyboardInterrupt, click.exceptions.Abort):
        click.echo("interrupted", err=True)
        sys.exit(130)


def _interrupt(number: int, frame: FrameType | None) -> Any:
    raise KeyboardInterrupt
