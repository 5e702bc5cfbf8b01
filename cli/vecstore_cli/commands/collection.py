"""`vecstore collection`: the collections of a store."""

from __future__ import annotations

import click

from vecstore import Store
from vecstore_cli.options import confirm, examples, json_option, opens_store, yes_option
from vecstore_cli.output import show_one, show_rows

__all__ = ["collection"]


@click.group()
def collection() -> None:
    """Create, list, rename and drop collections."""


@collection.command(epilog=examples("vecstore collection create shop.vecstore reviews"))
@opens_store()
@click.argument("name")
@json_option
def create(store: Store, name: str, as_json: bool) -> None:
    """Create a collection."""
    made = store.create_collection(name)
    record = {"name": made.name, "version": made.version}
    show_one(record, f"created collection {name}", as_json=as_json)


@collection.command("list", epilog=examples("vecstore collection list shop.vecstore"))
@opens_store()
@json_option
def list_(store: Store, as_json: bool) -> None:
    """List the collections with their items and versions."""
    latest = {name: store.collection(name).latest() for name in store.collections()}
    show_rows(
        [
            {"name": name, "items": len(version), "version": version.version}
            for name, version in latest.items()
        ],
        ["name", "items", "version"],
        as_json=as_json,
    )


@collection.command(epilog=examples("vecstore collection rename shop.vecstore products goods"))
@opens_store()
@click.argument("name")
@click.argument("new_name")
@json_option
def rename(store: Store, name: str, new_name: str, as_json: bool) -> None:
    """Give a collection another name."""
    renamed = store.rename_collection(name, new_name)
    record = {"name": renamed.name, "version": renamed.version}
    show_one(record, f"renamed collection {name} to {new_name}", as_json=as_json)


@collection.command(epilog=examples("vecstore collection drop shop.vecstore products --yes"))
@opens_store()
@click.argument("name")
@yes_option
@json_option
def drop(store: Store, name: str, yes: bool, as_json: bool) -> None:
    """Drop a collection with all its versions and files."""
    items = len(store.collection(name))
    confirm(f"Drop collection {name!r} with {items:,} items and its whole history?", yes=yes)
    store.drop_collection(name)
    record = {"name": name, "items": items}
    show_one(record, f"dropped collection {name} with {items:,} items", as_json=as_json)
