"""`vecstore demo`: the whole idea in one table, on data that comes with the package."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

import vecstore
from vecstore_cli.demonstration import Demonstration, Example, demonstrate
from vecstore_cli.options import examples, json_option
from vecstore_cli.output import show_json, show_renderable
from vecstore_cli.progress import working

__all__ = ["demo"]

_NOTES = (
    "Exact search; nDCG@10 and recall@10 over {queries} queries with one relevant definition each.",
    "Embedded with the new model: the {pairs} pairs, and what the cascade embedded until all "
    "{queries} queries were answered, each depth from the same start (commit=False).",
    "The encoder of this demo looks precomputed vectors up; a real model's time comes on top of a "
    "cascade. ms: median of single queries, warm.",
    "Query-side Procrustes is shown at its best, ranking the untouched old vectors only. Merged "
    "with the {pairs} native vectors of the new space, whose scores mean something else, it "
    "reaches {merged:.3f}.",
)


@click.command(epilog=examples("vecstore demo", "vecstore demo --store demo.vecstore --json"))
@click.option("--store", metavar="FOLDER", help="Keep the demo's store here; default: forget it.")
@json_option
def demo(store: str | None, as_json: bool) -> None:
    """Upgrade the embedding model of a dictionary, and measure every way to do it.

    4,000 definitions under an old model, 500 of them embedded with a new one. Takes seconds, needs
    no network and no model.
    """
    with (
        working() as busy,
        tempfile.TemporaryDirectory(prefix="vecstore-demo-") as folder,
        vecstore.open(store or folder) as opened,
    ):
        done = demonstrate(opened, busy)
    if as_json:
        show_json(_record(done))
    else:
        show_renderable(_report(done, kept=store))


def _record(done: Demonstration) -> dict[str, Any]:
    """Return the demonstration as JSON: fields as they are named in the library."""
    return {**asdict(done), "notes": _notes(done)}


def _notes(done: Demonstration) -> list[str]:
    fields = {"queries": done.queries, "pairs": done.pairs, "merged": done.merged_query_side}
    return [note.format(**fields) for note in _NOTES]


def _report(done: Demonstration, *, kept: str | None) -> RenderableType:
    """Return everything for people: steps, the table, notes, examples."""
    steps = Table.grid(padding=(0, 2))
    for name, seconds in done.seconds.items():
        steps.add_row(Text(f"{seconds:6.1f} s", style="dim"), Text(name))
    fitted = [
        Text(f"  {t.source} -> {t.target} ({t.side}): {t.family} on {t.pairs} pairs", style="dim")
        for t in done.translators
    ]
    notes = Table.grid(padding=(0, 1))
    for note in _notes(done):
        notes.add_row("-", Text(note, style="dim"))
    parts: list[RenderableType] = [
        steps,
        *fitted,
        _table(done),
        notes,
        Text(f"\nThree searches of the {done.queries}, chosen by rule:", style="bold"),
        *(part for example in done.examples for part in _example(example)),
    ]
    if kept is not None:
        parts.append(Text(f"\nThe store is kept: vecstore info {kept}"))
    return Group(*parts)


def _table(done: Demonstration) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("search", "nDCG@10", "recall@10", "embedded with the new model", "ms per query"):
        table.add_column(name, justify="left" if name == "search" else "right")
    for method in done.methods:
        table.add_row(
            method.name,
            f"{method.ndcg:.3f}",
            f"{method.recall:.3f}",
            f"{method.share:.1%}",
            f"{method.milliseconds:.2f}",
            style="bold" if method.key == "forward" else None,
        )
    return table


def _example(example: Example) -> list[RenderableType]:
    """Return a query and its first hits, old model and translation; a star marks the answer."""
    hits = Table.grid(padding=(0, 1))
    hits.add_column()
    hits.add_column()
    hits.add_column(no_wrap=True)
    hits.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    hits.expand = True
    for name, found in (("old model", example.old), ("forward", example.forward)):
        for number, hit in enumerate(found):
            hits.add_row(
                f"  {name}" if number == 0 else "",
                "*" if hit["id"] == example.relevant else " ",
                f"{hit['score']:.3f} {hit['provenance']}, {hit['space']}",
                Text(f"{hit['words']}: {hit['document']}"),
            )
    return [Text(f'\n"{example.query}" ({example.why})'), hits]
