"""`vecstore translator`: the maps between spaces."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, get_args

import click
import numpy as np

from vecstore import Store
from vecstore.fitting import Side
from vecstore_cli.options import (
    at_option,
    collection_of,
    collection_option,
    confirm,
    examples,
    json_option,
    opens_store,
    version_of,
    yes_option,
)
from vecstore_cli.output import show_one, show_rows
from vecstore_cli.queries import vectors_from_file
from vecstore_cli.records import translator_record
from vecstore_translators import families

__all__ = ["translator"]


@click.group()
def translator() -> None:
    """Fit, list and drop translators between spaces."""


@translator.command(
    epilog=examples(
        "vecstore translator fit shop.vecstore --source v1 --target v2",
        "vecstore translator fit shop.vecstore --source v1 --target v2 --family ridge --json",
        "vecstore translator fit shop.vecstore --source v2 --target v1 --side queries",
    )
)
@opens_store()
@collection_option
@click.option("--source", required=True, metavar="SPACE", help="Space that the map starts in.")
@click.option("--target", required=True, metavar="SPACE", help="Space that the map leads to.")
@click.option(
    "--side", type=click.Choice(get_args(Side)), default="documents", show_default=True,
    help="Map old documents into the new space, or new queries into the old one.",
)  # fmt: skip
@click.option(
    "--family", "chosen", multiple=True, type=click.Choice(list(families())),
    help="What to choose from; default: all. Repeatable.",
)  # fmt: skip
@click.option(
    "--queries", metavar="FILE", help="Real query vectors by the new model: .npy or .jsonl."
)
@click.option("--max-pairs", type=int, help="Sample where there are more pairs.")
@click.option("--seed", type=int, default=0, show_default=True)
@json_option
def fit(
    store: Store,
    collection: str | None,
    source: str,
    target: str,
    side: Side,
    chosen: tuple[str, ...],
    queries: str | None,
    max_pairs: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """Fit a translator on the items that have vectors in both spaces.

    The family is chosen by what it retrieves on held-out pairs. The report compares it with keeping
    the old model, and with chance.
    """
    options: dict[str, Any] = {} if max_pairs is None else {"max_pairs": max_pairs}
    if queries is not None:
        options["queries"] = np.asarray(vectors_from_file(queries).vectors, dtype=np.float32)
    report = collection_of(store, collection).fit_translator(
        source=source, target=target, side=side, family=list(chosen) or None, seed=seed, **options
    )
    show_one(asdict(report), f"{report}\n{report.id}", as_json=as_json)


@translator.command("list", epilog=examples("vecstore translator list shop.vecstore"))
@opens_store()
@collection_option
@at_option
@json_option
def list_(store: Store, collection: str | None, at: int | None, as_json: bool) -> None:
    """List the translators, oldest first."""
    show_rows(
        [translator_record(t) for t in version_of(store, collection, at).translators],
        ["id", "source", "target", "side", "family", "pairs"],
        as_json=as_json,
    )


@translator.command(
    epilog=examples(
        "vecstore translator drop shop.vecstore --yes "
        "$(vecstore translator list shop.vecstore | cut -f 1)"
    )
)
@opens_store()
@click.argument("id")
@collection_option
@yes_option
@json_option
def drop(store: Store, id: str, collection: str | None, yes: bool, as_json: bool) -> None:
    """Drop a translator; searches stop using it. Older versions still have it."""
    handle = collection_of(store, collection)
    confirm(f"Drop translator {id!r} of {handle.name!r}?", yes=yes)
    handle.drop_translator(id)
    record = {"id": id, "version": handle.version}
    show_one(record, f"dropped translator {id}", as_json=as_json)
