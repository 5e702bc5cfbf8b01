"""`vecstore get`, `count` and `delete`: single items and sets of them."""

from __future__ import annotations

import click

from vecstore import Store
from vecstore.filters import Where
from vecstore_cli.options import (
    at_option,
    collection_of,
    collection_option,
    confirm,
    examples,
    json_option,
    lines_of_stdin,
    opens_store,
    version_of,
    where_option,
    yes_option,
)
from vecstore_cli.output import show_one, show_rows
from vecstore_cli.records import item_record

__all__ = ["count", "delete", "get"]


@click.command(
    epilog=examples(
        "vecstore get shop.vecstore p1 p2",
        "vecstore get shop.vecstore p1 --space v1 --json",
        "vecstore search shop.vecstore --like p1 --space v1 | cut -f 3 "
        "| vecstore get shop.vecstore -",
    )
)
@opens_store()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@collection_option
@click.option(
    "--space", "spaces", multiple=True, metavar="SPACE",
    help="Show the native vector in this space too. Repeatable.",
)  # fmt: skip
@at_option
@json_option
def get(
    store: Store,
    ids: tuple[str, ...],
    collection: str | None,
    spaces: tuple[str, ...],
    at: int | None,
    as_json: bool,
) -> None:
    """Show items by id; - reads ids from standard input, one per line.

    Columns: id, document, metadata and, with --space, vectors by space (as JSON).
    """
    version = version_of(store, collection, at)
    found = version.get(lines_of_stdin(ids), spaces=spaces)
    columns = ["id", "document", "metadata", *(["vectors"] if spaces else [])]
    records = [item_record(item, vectors=bool(spaces)) for item in found]
    show_rows(records, columns, as_json=as_json)


@click.command(
    epilog=examples(
        "vecstore count shop.vecstore",
        "vecstore count shop.vecstore --where 'price < 20'",
        """vecstore count shop.vecstore --where '{"price": {"$lt": 20}}' --at 3 --json""",
    )
)
@opens_store()
@collection_option
@where_option
@at_option
@json_option
def count(
    store: Store, collection: str | None, where: Where | None, at: int | None, as_json: bool
) -> None:
    """Count items, or those for which a filter is true."""
    version = version_of(store, collection, at)
    items = version.count(where)
    show_one({"items": items, "version": version.version}, str(items), as_json=as_json)


@click.command(
    epilog=examples(
        "vecstore delete shop.vecstore p1 p2 --yes",
        "vecstore delete shop.vecstore --where 'price > 50' --yes",
    )
)
@opens_store()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@collection_option
@where_option
@yes_option
@json_option
def delete(
    store: Store,
    ids: tuple[str, ...],
    collection: str | None,
    where: Where | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Delete items by id or by a filter, with their vectors in every space.

    - reads ids from standard input, one per line. Ids without an item are ignored. Older versions
    still have the items.
    """
    if bool(ids) == (where is not None):
        raise click.UsageError("say which items to delete: either by id or by --where")
    handle = collection_of(store, collection)
    wanted = lines_of_stdin(ids) if ids else None
    named = f"{len(wanted):,} ids" if wanted is not None else f"{handle.count(where):,} items"
    confirm(f"Delete {named} from collection {handle.name!r}?", yes=yes)
    result = handle.delete(wanted, where=where)
    record = {"deleted": result.rows, "version": result.version}
    show_one(record, f"deleted {result.rows:,} items, version {result.version}", as_json=as_json)
