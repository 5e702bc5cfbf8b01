"""`vecstore backup` and `restore`: a copy of a store somewhere else, and a store made from it."""

from __future__ import annotations

import click
from rich.filesize import decimal

import vecstore
from vecstore import Store
from vecstore_cli.options import examples, json_option, opens_store
from vecstore_cli.output import plain, show_one
from vecstore_cli.records import backup_record, restore_record

__all__ = ["backup", "restore"]


@click.command(
    epilog=examples(
        "vecstore backup shop.vecstore backups/shop",
        "vecstore backup shop.vecstore backups/products -c products --json",
    )
)
@opens_store()
@click.argument("place", metavar="PLACE")
@click.option(
    "-c", "--collection", "collections", metavar="NAME", multiple=True,
    help="Only this collection; may be repeated.",
)  # fmt: skip
@json_option
def backup(store: Store, place: str, collections: tuple[str, ...], as_json: bool) -> None:
    """Copy a consistent snapshot of STORE to PLACE, while others write.

    PLACE is a folder, or s3://bucket/prefix. The same PLACE again copies only what is new, and
    completes a backup that was interrupted; until it is complete, the one before can be restored.
    """
    report = store.backup(place, collections=collections or None)
    versions = ", ".join(f"{plain(n)} at version {v}" for n, v in report.collections.items())
    sentence = (
        f"backed up {versions or 'no collections'}: {report.files:,} files, "
        f"{decimal(report.bytes)}; copied {report.copied_files:,}, {decimal(report.copied_bytes)}"
    )
    show_one(backup_record(report), sentence, as_json=as_json)


@click.command(
    epilog=examples(
        "vecstore restore backups/shop again.vecstore",
        "vecstore restore backups/shop moved.vecstore --data files --json",
    )
)
@click.argument("place", metavar="PLACE")
@click.argument("store", metavar="STORE")
@click.option("--data", metavar="PLACE", help="Data root: a folder, or s3://bucket/prefix.")
@json_option
def restore(place: str, store: str, data: str | None, as_json: bool) -> None:
    """Make STORE from the backup at PLACE, with every version that it holds.

    STORE must not exist. Its catalog and data root may be of another kind than those of the
    store that was backed up: SQLite or PostgreSQL, a folder or an object store.
    """
    report = vecstore.restore(place, store, data=data)
    versions = ", ".join(f"{plain(n)} at version {v}" for n, v in report.collections.items())
    sentence = (
        f"restored {versions or 'no collections'}: {report.files:,} files, {decimal(report.bytes)}"
    )
    show_one(restore_record(report), sentence, as_json=as_json)
