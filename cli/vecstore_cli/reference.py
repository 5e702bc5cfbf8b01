"""The reference of all commands as Markdown: ``python -m vecstore_cli.reference``.

Writes docs/reference/cli.md to standard output; a test checks that the file is up to date.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import click

from vecstore_cli.errors import EXIT_CODES
from vecstore_cli.main import cli
from vecstore_cli.shapes import SHAPES

__all__ = ["commands", "reference"]

_HEAD = """\
# Command line

Made from the help of the commands by `python -m vecstore_cli.reference > docs/reference/cli.md`.

`STORE` is a folder, or the SQLAlchemy URL of a catalog database with `--data FOLDER`. It comes
first, as in sqlite-utils. `-c` names the collection and may be left out where the store has only
one. `-` is standard input, or standard output for `export`.

Results go to standard output. On a terminal they are tables; elsewhere the same columns come
separated by tabs, without a heading; `--json` prints [all fields](#json), on one line where there
is no terminal. Progress and messages go to standard error, and progress only to a terminal. What
destroys something asks first, and refuses where nobody can be asked, unless `--yes` is given.
"""

_COMPLETION = """\
## Shell completion

Put one of these into the start-up file of your shell:

```bash
eval "$(_VECSTORE_COMPLETE=bash_source vecstore)"  # ~/.bashrc
eval "$(_VECSTORE_COMPLETE=zsh_source vecstore)"   # ~/.zshrc
_VECSTORE_COMPLETE=fish_source vecstore | source   # ~/.config/fish/completions/vecstore.fish
```
"""

_JSON = """\
## JSON

What `--json` prints. Texts say what a value is. Fields are only ever added.
"""


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield every command that does something, by its full name."""
    yield from _below("vecstore", cli)


def reference() -> str:
    """Return the reference as Markdown."""
    codes = "\n".join(f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items())
    parts = [_HEAD, f"## Exit codes\n\n| code | meaning |\n|---|---|\n{codes}\n", _COMPLETION]
    for name, command in commands():
        context = click.Context(command, info_name=name, max_content_width=100, terminal_width=100)
        context.help_option_names = ["-h", "--help"]
        parts.append(f"## {name}\n\n```text\n{command.get_help(context)}\n```\n")
    parts.append(_JSON)
    for name, shape in SHAPES.items():
        text = json.dumps(shape, indent=2, ensure_ascii=False)
        parts.append(f"### {name} --json\n\n```json\n{text}\n```\n")
    return "\n".join(parts)


def _below(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield name, command
        return
    for part, inner in command.commands.items():
        yield from _below(f"{name} {part}", inner)


if __name__ == "__main__":
    click.echo(reference(), nl=False)
