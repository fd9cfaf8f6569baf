"""The completion scripts of shells: click's, made to work wherever the program is, by any name."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from imagefactory.cli.calling import NAME

_VARIABLE = "_IMAGEFACTORY_COMPLETE"
# Bash completes the words after an alias only where the alias is named.
_ALIASES = f"""
for _name in "${{!BASH_ALIASES[@]}}"; do
    case ${{BASH_ALIASES[$_name]%% *}} in
        {NAME} | */{NAME}) complete -o nosort -F _{NAME}_completion "$_name" ;;
    esac
done
unset _name
"""


def completion_script(shell: str, command: click.Command) -> str:
    """The script for bash, zsh or fish. It asks this very program, by its path."""
    chosen = get_completion_class(shell)
    assert chosen is not None
    source = chosen(command, {}, NAME, _VARIABLE).source()
    program = shlex.quote(str(Path(sys.argv[0]).absolute()))
    if shell == "bash":
        asks = f"{_VARIABLE}=bash_complete "
        return source.replace(f"{asks}$1", f"{asks}{program}") + _ALIASES
    if shell == "zsh":
        source = source.replace(f"    (( ! $+commands[{NAME}] )) && return 1\n", "")
        return source.replace(f"{_VARIABLE}=zsh_complete {NAME}", f"{_VARIABLE}=zsh_complete {program}")
    asked = "COMP_CWORD=(commandline -t) "
    return source.replace(f"{asked}{NAME}", f"{asked}{program}")
