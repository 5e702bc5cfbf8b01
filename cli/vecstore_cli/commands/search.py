"""`vecstore search`: the nearest items, whatever model embedded them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import click

from vecstore import CollectionVersion, Hits, SearchResult, Store
from vecstore.filters import Where
from vecstore.search.plan import Execution
from vecstore_cli.options import (
    at_option,
    collection_of,
    collection_option,
    examples,
    json_option,
    lines_of_stdin,
    opens_store,
    version_of,
    where_option,
)
from vecstore_cli.output import show_json, show_one, show_rows
from vecstore_cli.queries import Queries, vector_of_item, vectors_from_file, vectors_from_json
from vecstore_cli.records import hit_record

__all__ = ["search"]

_COLUMNS = ["query", "rank", "id", "score", "provenance", "space", "document"]


@click.command(
    epilog=examples(
        "vecstore search shop.vecstore --space v1 --vector '[0.1, 0.7, 0.2]' -k 3",
        "vecstore search shop.vecstore --space v2 --like p7 --where 'price < 20' --json",
        "vecstore search shop.vecstore --space v2 --vector-file queries.npy --execution fold",
        "echo '[0.1, 0.7, 0.2]' | vecstore search shop.vecstore --space v1 --vector-file -",
        "vecstore search shop.vecstore --space v2 --explain",
        "vecstore search shop.vecstore --space v2 --like p7 --text 'product 7'",
    )
)
@opens_store()
@collection_option
@click.option(
    "--vector", metavar="JSON",
    help="A query, as in '[0.1, 0.2]', or one for each of several spaces, as in "
    "'{\"v1\": [0.1], \"v2\": [0.2]}'; - is standard input.",
)  # fmt: skip
@click.option(
    "--vector-file", metavar="FILE",
    help="A batch of queries: .npy, or .jsonl with arrays or objects like that; - is JSON lines "
    "on standard input.",
)  # fmt: skip
@click.option(
    "--like", metavar="ID", help="The stored vector of this item is the query; it finds itself."
)
@click.option(
    "--text", "texts", multiple=True, metavar="TEXT",
    help="A query in words, embedded by the encoder of the space unless a vector is given too. "
    "Repeatable; - is a query on each line of standard input.",
)  # fmt: skip
@click.option("--space", metavar="SPACE", help="Space of the query vectors, and to rank in.")
@click.option(
    "-k", "--k", "--limit", "k", type=int, default=10, show_default=True, help="Hits per query."
)
@where_option
@click.option(
    "--execution", type=click.Choice(get_args(Execution)),
    help="How translations run: documents by rewrite (default), fold or rescore, or the query.",
)  # fmt: skip
@click.option("--rescore-depth", type=int, help="Shortlist per query of rescore.")
@click.option(
    "--allow-partial", is_flag=True, help="Leave out items that no translator joins to the space."
)
@click.option("--explain", is_flag=True, help="Print how the search would run, and do not search.")
@at_option
@json_option
def search(
    store: Store,
    collection: str | None,
    vector: str | None,
    vector_file: str | None,
    like: str | None,
    texts: tuple[str, ...],
    space: str | None,
    k: int,
    where: Where | None,
    execution: Execution | None,
    rescore_depth: int | None,
    allow_partial: bool,
    explain: bool,
    at: int | None,
    as_json: bool,
) -> None:
    """Find the nearest items of the whole collection, whatever model embedded them.

    Columns: query, rank, id, score (larger is better), provenance (native or translated), the space
    of the item's vector, document. JSON also has distance, translators and metadata.
    """
    given = [value for value in (vector, vector_file, like) if value is not None]
    if len(given) > 1 or not (given or texts or explain):
        raise click.UsageError(
            "say what to search for: one of --vector, --vector-file and --like, or --text"
        )
    version = version_of(store, collection, at)
    how: dict[str, Any] = {"execution": execution, "allow_partial": allow_partial}
    queries = None
    if vector is not None:
        queries = vectors_from_json(vector)
    elif vector_file is not None:
        queries = vectors_from_file(vector_file)
    elif like is not None:
        # Without --space the library says which space it ranks in.
        space = space or version.explain(**how).target.space.name
        queries = vector_of_item(version, like, space)
    elif texts:
        queries = Queries(vectors=None)
    text = None
    if texts:
        words = lines_of_stdin(texts)
        text = words[0] if len(texts) == len(words) == 1 else words
    if explain or queries is None:
        _explain(version, queries, space=space, how=how, as_json=as_json)
        return
    # The newest version is searched through the collection, which counts what is asked for.
    searched = version if at is not None else collection_of(store, collection)
    result = searched.search(
        queries.vectors,
        text=text,
        space=space,
        k=k,
        where=where,
        rescore_depth=rescore_depth,
        **how,
    )
    _show(version, result, queries, as_json=as_json)


def _explain(
    version: CollectionVersion,
    queries: Queries | None,
    *,
    space: str | None,
    how: Mapping[str, Any],
    as_json: bool,
) -> None:
    spaces = None
    if queries is not None and isinstance(queries.vectors, Mapping):
        spaces = list(queries.vectors)
    plan = version.explain(space=space, query_spaces=spaces, **how)
    show_one(plan.to_dict(), str(plan), as_json=as_json)


def _show(
    version: CollectionVersion, result: Hits | SearchResult, queries: Queries, *, as_json: bool
) -> None:
    """Print hits; one query is a batch of one, so that the shape is always the same."""
    batch = [result] if isinstance(result, Hits) else list(result)
    names = queries.names or [str(number) for number in range(len(batch))]
    if as_json:
        found = [
            {"query": name, "hits": [hit_record(hit) for hit in hits]}
            for name, hits in zip(names, batch, strict=True)
        ]
        space = result.plan.target.space.name
        show_json({"version": version.version, "space": space, "queries": found})
        return
    rows = [
        {"query": name, "rank": rank, **hit_record(hit)}
        for name, hits in zip(names, batch, strict=True)
        for rank, hit in enumerate(hits, start=1)
    ]
    show_rows(rows, _COLUMNS, as_json=False)
