"""`vecstore index`: the acceleration structures of a collection."""

from __future__ import annotations

import json
from typing import Any

import click

from vecstore import Store
from vecstore.indexes.registry import index_kinds
from vecstore_cli.options import (
    PAIR,
    collection_of,
    collection_option,
    confirm,
    examples,
    json_option,
    opens_store,
    yes_option,
)
from vecstore_cli.output import show_one, show_rows
from vecstore_cli.progress import counting
from vecstore_cli.records import index_record

__all__ = ["index"]


@click.group()
def index() -> None:
    """Build, list and drop indexes. Without one, search is exact."""


@index.command(
    epilog=examples(
        "vecstore index build shop.vecstore --space v1",
        "vecstore index build shop.vecstore --space v1 --into v2 --kind flat --execution fold",
        "vecstore index build shop.vecstore --space v1 --param m=16",
    )
)
@opens_store()
@collection_option
@click.option("--space", required=True, metavar="SPACE", help="Whose vectors are indexed.")
@click.option("--kind", type=click.Choice(index_kinds()), default="hnsw", show_default=True)
@click.option("--into", metavar="SPACE", help="Index the vectors as translated into this space.")
@click.option(
    "--execution", type=click.Choice(["rewrite", "fold"]), default="rewrite", show_default=True,
    help="With --into: the form that searches use.",
)  # fmt: skip
@click.option(
    "--param", "parameters", type=PAIR, multiple=True, metavar="KEY=VALUE",
    help="Parameter of the kind. Repeatable.",
)  # fmt: skip
@json_option
def build(
    store: Store,
    collection: str | None,
    space: str,
    parameters: tuple[tuple[str, str], ...],
    as_json: bool,
    **options: Any,
) -> None:
    """Build an index, in place of the one over the same vectors."""
    handle = collection_of(store, collection)
    with counting("index") as progress:
        made = handle.build_index(
            space=space,
            parameters={key: _value(text) for key, text in parameters},
            progress=progress,
            **options,
        )
    record = index_record(made)
    sentence = f"built {made.kind} index {made.id} over {made.rows:,} vectors of space {space}"
    show_one(record, sentence, as_json=as_json)


@index.command("list", epilog=examples("vecstore index list shop.vecstore"))
@opens_store()
@collection_option
@json_option
def list_(store: Store, collection: str | None, as_json: bool) -> None:
    """List the indexes."""
    show_rows(
        [index_record(made) for made in collection_of(store, collection).indexes],
        ["id", "space", "kind", "execution", "rows", "bytes"],
        as_json=as_json,
    )


@index.command(
    epilog=examples(
        "vecstore index drop shop.vecstore --yes $(vecstore index list shop.vecstore | cut -f 1)"
    )
)
@opens_store()
@click.argument("id")
@collection_option
@yes_option
@json_option
def drop(store: Store, id: str, collection: str | None, yes: bool, as_json: bool) -> None:
    """Drop an index; searches of its vectors become exact."""
    handle = collection_of(store, collection)
    confirm(f"Drop index {id!r} of {handle.name!r}?", yes=yes)
    handle.drop_index(id)
    show_one({"id": id}, f"dropped index {id}", as_json=as_json)


def _value(text: str) -> Any:
    """Return a number or boolean where the text is one in JSON, else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
