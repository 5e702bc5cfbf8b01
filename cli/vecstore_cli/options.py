"""Arguments that many commands share: the store, the collection, --json, --where, --yes."""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar, final

import click

import vecstore
from vecstore import Collection, CollectionVersion, Store
from vecstore.errors import InvalidFilterError, NotFoundError
from vecstore_cli.errors import Declined
from vecstore_ingest import open_encoder

__all__ = [
    "DURATION",
    "PAIR",
    "SIZE",
    "at_option",
    "collection_of",
    "collection_option",
    "confirm",
    "examples",
    "json_option",
    "lines_of_stdin",
    "opens_store",
    "version_of",
    "where_option",
    "yes_option",
]

Command = TypeVar("Command", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
collection_option = click.option(
    "-c", "--collection", metavar="NAME", help="May be left out if the store has only one."
)
at_option = click.option(
    "--at", metavar="VERSION", type=int, help="Read an older version of the collection."
)


def examples(*lines: str) -> str:
    """Return the end of a command's help: examples, which the tests run."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def opens_store(*, create: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the argument STORE and call it with the store, open."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @click.argument("store", metavar="STORE")
        @click.option("--data", metavar="PLACE", help="Data root: a folder, or s3://bucket/prefix.")
        @functools.wraps(command)
        def opened(*args: Any, store: str, data: str | None, **kwargs: Any) -> Any:
            with vecstore.open(store, data=data, create=create, encoders=open_encoder) as handle:
                return command(*args, store=handle, **kwargs)

        return opened

    return decorate


def collection_of(store: Store, name: str | None) -> Collection:
    """Return the named collection, or the only one."""
    if name is not None:
        return store.collection(name)
    names = store.collections()
    if not names:
        raise NotFoundError(
            "the store has no collection yet; make one with `vecstore collection create`"
        )
    if len(names) > 1:
        raise click.UsageError(
            f"say which collection with -c; the store has {', '.join(map(repr, names))}"
        )
    return store.collection(names[0])


def version_of(store: Store, name: str | None, at: int | None) -> CollectionVersion:
    """Return the version of a collection that a reading command looks at."""
    collection = collection_of(store, name)
    return collection.latest() if at is None else collection.at(at)


def where_option(command: Command) -> Command:
    """Add --where, which takes SQL or a JSON dictionary."""
    return click.option(
        "--where",
        metavar="FILTER",
        callback=lambda _context, _parameter, value: _filter(value),
        help="SQL, as in \"year > 2020 AND lang = 'en'\", or JSON, as in "
        '\'{"year": {"$gt": 2020}}\'.',
    )(command)


def _filter(text: str | None) -> str | dict[str, Any] | None:
    if text is None or not text.lstrip().startswith("{"):
        return text
    try:
        where: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise InvalidFilterError(
            f"--where: expected a JSON object or SQL, got {text!r}: {error}"
        ) from error
    return where


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is destroyed; where nobody can be asked, refuse.

    Raises
    ------
    Declined
        The answer was no.
    click.UsageError
        There is no terminal, and no ``--yes``.
    """
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError(f"{question} This cannot be undone; pass --yes to go on.")
    if not click.confirm(question, err=True):
        raise Declined("Nothing was changed.")


def lines_of_stdin(values: Sequence[str]) -> list[str]:
    """Return values, with the lines of standard input in the place of ``-``."""
    return [
        line
        for value in values
        for line in (
            [text for text in map(str.strip, sys.stdin) if text] if value == "-" else [value]
        )
    ]


@final
class _Pair(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """``KEY=VALUE`` as a tuple."""

    name = "KEY=VALUE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        key, sign, rest = str(value).partition("=")
        if not (key and sign):
            self.fail(f"expected KEY=VALUE, got {value!r}", param, ctx)
        return key, rest


PAIR = _Pair()


_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@final
class _Duration(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """``90s``, ``12h`` or ``7d`` as a timedelta."""

    name = "TIME"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"(\d{1,9})([smhd])", str(value))
        if found is None:
            self.fail(
                f"expected a number with s, m, h or d, such as 12h, got {value!r}", param, ctx
            )
        return timedelta(**{_UNITS[found[2]]: int(found[1])})


DURATION = _Duration()


@final
class _Size(click.ParamType):  # type: ignore[type-arg]
    """``500MB`` as a number of bytes; units of 1,000 (kB, MB, GB, TB) or 1,024 (KiB ...)."""

    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(i?)b?\s*", value.lower())
        if found is None:
            self.fail(f"expected a size such as 500MB or 2GB, got {value!r}", param, ctx)
        number, unit, binary = found.groups()
        return int(float(number) * (1024 if binary else 1000) ** " kmgt".index(unit or " "))


SIZE = _Size()
