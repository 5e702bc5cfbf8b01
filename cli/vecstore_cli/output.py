"""Results on stdout: a table on a terminal, tab-separated elsewhere, or JSON.

What is stored is foreign text. Control characters never reach a terminal, and nothing is read
as markup.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time
from typing import Any

import click
import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

__all__ = ["plain", "show_json", "show_one", "show_renderable", "show_rows"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")

_PIECE = 16_384


def show_rows(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    """Print records: JSON has all their fields, a table those of ``columns``."""
    if as_json:
        show_json(list(rows))
    elif sys.stdout.isatty():
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for name in columns:
            table.add_column(name.replace("_", " "), overflow="fold")
        for row in rows:
            table.add_row(*(Text(plain(row[name])) for name in columns))
        show_renderable(table)
    else:
        lines = ["\t".join(plain(row[name]) for name in columns) + "\n" for row in rows]
        _write("".join(lines))


def show_one(record: Mapping[str, Any], sentence: str, *, as_json: bool) -> None:
    """Print what an action did: a record as JSON, or a sentence."""
    if as_json:
        show_json(record)
    else:
        click.echo(sentence)


def show_json(value: Any) -> None:
    """Print a value as JSON, indented on a terminal."""
    indent = 2 if sys.stdout.isatty() else None
    text = json.dumps(_jsonable(value), ensure_ascii=False, allow_nan=False, indent=indent)
    _write(f"{text}\n")


def show_renderable(renderable: RenderableType) -> None:
    """Print something of rich, without colours where there is no terminal."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 100)
    with console.capture() as captured:
        console.print(renderable)
    _write(captured.get())


def plain(value: Any) -> str:
    """Return a value as one line of text without control characters."""
    if value is None:
        return ""
    if isinstance(value, (float, np.floating)):
        return f"{value:.6g}"
    if isinstance(value, (Mapping, list, tuple)):
        value = json.dumps(_jsonable(value), ensure_ascii=False)
    return _CONTROL.sub(" ", str(value))


def _write(text: str) -> None:
    """Print in pieces: unbuffered, one long write may end early without an error."""
    for start in range(0, len(text), _PIECE):
        click.echo(text[start : start + _PIECE], nl=False)


def _jsonable(value: Any) -> Any:
    """Return a value as JSON has it: NaN is null, times are ISO, what is unknown is text."""
    if isinstance(value, Mapping):
        return {str(key): _jsonable(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray):
        return _jsonable(value.tolist())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_jsonable(inner) for inner in value]
    if isinstance(value, np.generic):
        return _jsonable(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    return value if value is None or isinstance(value, (str, int)) else str(value)
