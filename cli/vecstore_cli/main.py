"""The command `vecstore`: its groups, and how it ends.

Errors of the library become a message and an exit code. Any other exception is a bug and shows
its traceback.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any, final

import click

from vecstore import SuspiciousVectorsWarning, VecstoreError, __version__
from vecstore_cli.commands.backfill import backfill
from vecstore_cli.commands.backup import backup, restore
from vecstore_cli.commands.collection import collection
from vecstore_cli.commands.demo import demo
from vecstore_cli.commands.doctor import doctor
from vecstore_cli.commands.files import export, ingest
from vecstore_cli.commands.housekeeping import compact, expire, gc
from vecstore_cli.commands.index import index
from vecstore_cli.commands.items import count, delete, get
from vecstore_cli.commands.search import search
from vecstore_cli.commands.space import space
from vecstore_cli.commands.store import info, init, versions
from vecstore_cli.commands.translator import translator
from vecstore_cli.commands.upgrade import upgrade
from vecstore_cli.errors import BROKEN_PIPE, EXIT_CODES, INTERRUPTED, exit_code
from vecstore_cli.interrupts import Interrupts

__all__ = ["cli", "main"]

_EPILOG = "\n\n".join(
    [
        "\b\nExit codes:\n"
        + "\n".join(f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES.items()),
        "\b\nShell completion (bash; zsh_source and fish_source for the others):\n"
        '  eval "$(_VECSTORE_COMPLETE=bash_source vecstore)"',
        "\b\nStart here:\n  vecstore demo",
    ]
)


@final
class _Application(click.Group):
    """A group that shows errors of the library as messages, and lets those of bugs pass."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("always", SuspiciousVectorsWarning)
                warnings.showwarning = _show_warning
                return super().invoke(ctx)
        except VecstoreError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(exit_code(error))
        except BrokenPipeError:
            # What is still buffered would fail again when the interpreter flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(BROKEN_PIPE)


def _show_warning(message: Warning | str, *_where: Any, **_more: Any) -> None:
    """Show a warning as one line, as errors are shown."""
    click.echo(f"Warning: {message}", err=True)


@click.group(
    cls=_Application,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="vecstore")
def cli() -> None:
    """Search across generations of embedding models.

    STORE is a folder, or the SQLAlchemy URL of a catalog database together with --data. Results
    go to stdout, as a table on a terminal, tab-separated elsewhere, or as JSON with --json;
    progress and messages go to stderr.
    """


for _command in (
    init, info, versions, collection, space, ingest, export, search, get, count, delete,
    translator, index, upgrade, backfill, doctor, compact, expire, gc, backup,
    restore, demo,
):  # fmt: skip
    cli.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the process.
    """
    with Interrupts() as interrupts:
        try:
            code = cli.main(arguments, prog_name="vecstore", standalone_mode=False, obj=interrupts)
        except click.ClickException as error:
            error.show()
            return error.exit_code
        except click.Abort:
            code = 0
            interrupts.note()
    if interrupts.came and not code:
        click.echo("Interrupted; what was committed stays.", err=True)
        return INTERRUPTED
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    sys.exit(main())
