"""`vecstore init`, `info` and `versions`: the store as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
from rich.console import Group
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from vecstore import Store
from vecstore_cli.options import (
    at_option,
    collection_of,
    collection_option,
    examples,
    json_option,
    opens_store,
)
from vecstore_cli.output import plain, show_json, show_one, show_renderable, show_rows
from vecstore_cli.records import collection_record, index_summary, version_record

__all__ = ["info", "init", "versions"]


@click.command(epilog=examples("vecstore init new.vecstore", "vecstore init new.vecstore -c docs"))
@opens_store(create=True)
@click.option("-c", "--collection", metavar="NAME", help="A collection to create.")
@json_option
def init(store: Store, collection: str | None, as_json: bool) -> None:
    """Create a store, and a collection in it if -c names one. What exists already stays."""
    if collection is not None:
        store.create_collection(collection, exist_ok=True)
    names = store.collections()
    made = f"collections: {', '.join(map(plain, names))}" if names else "no collections yet"
    show_one({"collections": names}, f"store ready, {made}", as_json=as_json)


@click.command(
    epilog=examples("vecstore info shop.vecstore", "vecstore info shop.vecstore -c products --json")
)
@opens_store()
@collection_option
@at_option
@json_option
def info(store: Store, collection: str | None, at: int | None, as_json: bool) -> None:
    """Show collections: items, spaces with coverage, translators, indexes, sizes.

    Coverage is the share of items with a native vector in the space.
    """
    names = store.collections() if collection is None else [collection]
    if at is not None:
        names = [collection_of(store, collection).name]
    records = []
    for name in names:
        handle = store.collection(name)
        version = handle.latest() if at is None else handle.at(at)
        records.append(collection_record(handle, version))
    if as_json:
        show_json({"collections": records})
        return
    for record in records:
        show_renderable(_summary(record))


@click.command(
    epilog=examples(
        "vecstore versions shop.vecstore",
        "vecstore count shop.vecstore --at 2",
    )
)
@opens_store()
@collection_option
@json_option
def versions(store: Store, collection: str | None, as_json: bool) -> None:
    """Show the history of a collection: each commit, oldest first.

    Every version that has not expired can be read with --at.
    """
    history = collection_of(store, collection).versions()
    show_rows(
        [version_record(version) for version in history],
        ["version", "committed_at", "operation", "rows"],
        as_json=as_json,
    )


def _summary(record: Mapping[str, Any]) -> Group:
    """Return a collection for people."""
    size = sum(record["bytes"].values())
    lines: list[str] = [
        f"{plain(record['name'])}: {record['items']:,} items at version {record['version']}, "
        f"{decimal(size)}"
    ]
    table = Table.grid(padding=(0, 2))
    for space in record["spaces"]:
        model = plain(space["model"]) or "no model named"
        table.add_row(
            Text("  space"),
            Text(plain(space["name"])),
            Text(f"{space['coverage']:.1%} of the items{', default' * space['default']}"),
            Text(f"{model}, {space['dim']} dimensions, {space['metric']}, {space['dtype']}"),
        )
    for translator in record["translators"]:
        table.add_row(
            Text("  translator"),
            Text(f"{plain(translator['source'])} -> {plain(translator['target'])}"),
            Text(f"of {translator['side']}"),
            Text(f"{translator['family']} on {translator['pairs']:,} pairs, {translator['id']}"),
        )
    for index in record["indexes"]:
        view = f", {index['execution']} of {index['translator']}" if index["execution"] else ""
        table.add_row(
            Text("  index"),
            Text(plain(index["space"])),
            Text(f"{index['rows']:,} rows"),
            Text(f"{index['kind']}{view}, {decimal(index['bytes'])}, {index['id']}"),
        )
    for pile in record["segments"]:
        table.add_row(
            Text("  files"),
            Text(plain(pile["space"] or "items")),
            Text(f"{pile['files']:,} and {pile['delete_files']:,} of deletes"),
            Text(f"{pile['rows']:,} rows, {pile['dead_share']:.1%} dead, {decimal(pile['bytes'])}"),
        )
    notes = [f"  advice: {record['advice']}"] if record["advice"] else []
    notes += [f"  index {plain(index_summary(i))}" for i in record["indexes"] if i["report"]]
    notes += [f"  {plain(line)}" for line in record["index_advice"]]
    return Group(*map(Text, lines), table, *map(Text, notes))
