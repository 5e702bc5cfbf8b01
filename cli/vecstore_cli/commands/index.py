"""`vecstore index`: the acceleration structures of a collection."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from vecstore import Store
from vecstore.indexes.registry import index_kinds
from vecstore.tuning.advice import exact_reason
from vecstore.tuning.auto import AUTO
from vecstore_cli.options import (
    PAIR,
    SIZE,
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
from vecstore_cli.queries import vectors_from_file
from vecstore_cli.records import built_sentence, index_record

__all__ = ["index"]


@click.group()
def index() -> None:
    """Build, list and drop indexes. Without one, search is exact."""


@index.command(
    epilog=examples(
        "vecstore index build shop.vecstore --space v1",
        "vecstore index build shop.vecstore --space v1 --kind hnsw --param m=16",
        "vecstore index build shop.vecstore --space v1 --into v2 --kind flat --execution fold",
        "vecstore index build shop.vecstore --space v1 --auto --recall 0.95 --memory 2GB",
        "vecstore index build shop.vecstore --space v2 --auto --queries queries.npy",
    )
)
@opens_store()
@collection_option
@click.option("--space", required=True, metavar="SPACE", help="Whose vectors are indexed.")
@click.option(
    "--kind", type=click.Choice([AUTO, *index_kinds()]), default=AUTO, show_default=True,
    help="auto chooses kind and parameters, and builds nothing where exact search is as fast.",
)  # fmt: skip
@click.option("--auto", is_flag=True, help="The same as --kind auto, in so many words.")
@click.option(
    "--recall", type=float, metavar="SHARE",
    help="Recall at 10 to reach: 0.95 for auto. With another kind: tune it to that.",
)  # fmt: skip
@click.option(
    "--memory", "memory_limit", type=SIZE, metavar="SIZE",
    help="For auto: what the index may take, such as 500MB or 2GB.",
)  # fmt: skip
@click.option(
    "--queries", "queries_file", metavar="FILE",
    help="Vectors to tune on, .npy or .jsonl; without, documents ask.",
)  # fmt: skip
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
    kind: str,
    auto: bool,
    queries_file: str | None,
    parameters: tuple[tuple[str, str], ...],
    as_json: bool,
    **options: Any,
) -> None:
    """Build an index, in place of the one over the same vectors.

    By default where it pays: with few vectors, exact search is as fast, nothing is built, and
    that is said (exit code 0). Beyond, kind and parameters are chosen and tuned on the queries
    that will come, and what is reached against exact search is measured. A kind that is named
    is built at any size, and tuned with --recall only. Searches go on meanwhile.
    """
    handle = collection_of(store, collection)
    if auto and kind != AUTO:
        raise click.UsageError("--auto chooses the kind; leave --kind out")
    if queries_file is not None:
        options["queries"] = vectors_from_file(queries_file).vectors
    with counting("index") as progress:
        made = handle.build_index(
            space=space,
            kind=kind,
            parameters={key: _value(text) for key, text in parameters},
            progress=progress,
            **options,
        )
    if made is None:
        why = exact_reason(handle.spaces[space])
        show_one({"index": None, "reason": why}, f"{why}; nothing was built", as_json=as_json)
    else:
        record = index_record(made)
        show_one({"index": record, "reason": None}, built_sentence(record), as_json=as_json)


@index.command("list", epilog=examples("vecstore index list shop.vecstore"))
@opens_store()
@collection_option
@json_option
def list_(store: Store, collection: str | None, as_json: bool) -> None:
    """List the indexes, with the recall and the speed-up of those that were tuned."""
    records = [index_record(made) for made in collection_of(store, collection).indexes]
    columns = ["id", "space", "kind", "execution", "rows", "bytes"]
    if not as_json:
        records = [record | _measured(record) for record in records]
        columns += ["recall", "speedup"]
    show_rows(records, columns, as_json=as_json)


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


def _measured(record: Mapping[str, Any]) -> dict[str, str | None]:
    """Return what was measured of an index as cells; None where it was built as it is."""
    report = record["report"]
    if not report:
        return {"recall": None, "speedup": None}
    return {
        "recall": f"{report['recall']['mean']:.3f}",
        "speedup": f"{report['speedup']['single']:.1f}x",
    }


def _value(text: str) -> Any:
    """Return a number or boolean where the text is one in JSON, else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
