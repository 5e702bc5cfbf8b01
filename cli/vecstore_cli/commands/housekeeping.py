"""`vecstore compact`, `expire` and `gc`: few large files, and none that nobody needs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click
from rich.filesize import decimal

from vecstore import Store
from vecstore_cli.options import (
    DURATION,
    collection_of,
    collection_option,
    confirm,
    examples,
    json_option,
    opens_store,
    yes_option,
)
from vecstore_cli.output import show_one
from vecstore_cli.records import compaction_record, expiry_record, garbage_record

__all__ = ["compact", "expire", "gc"]

dry_run_option = click.option("--dry-run", is_flag=True, help="Only say what would be done.")


@click.command(
    epilog=examples(
        "vecstore compact shop.vecstore",
        "vecstore compact shop.vecstore --dead-share 0 --dry-run --json",
    )
)
@opens_store()
@collection_option
@click.option(
    "--target-mib", type=click.IntRange(min=1), default=256, show_default=True,
    help="Size of the files to make.",
)  # fmt: skip
@click.option(
    "--dead-share", type=click.FloatRange(0, 1), default=0.2, show_default=True,
    help="Rewrite larger files from this share of dead rows on.",
)  # fmt: skip
@dry_run_option
@json_option
def compact(
    store: Store, collection: str | None, target_mib: int, as_json: bool, **options: Any
) -> None:
    """Merge small files of a collection and leave out dead rows.

    Items and indexes stay as they are. The old files stay too, until `vecstore expire` and
    `vecstore gc`.
    """
    handle = collection_of(store, collection)
    report = handle.compact(target_bytes=target_mib << 20, **options)
    if report.dry_run:
        sentence = f"would rewrite {report.files_before:,} files, {decimal(report.bytes_before)}"
    elif report.files_before:
        sentence = (
            f"rewrote {report.files_before:,} files as {report.files_after:,}, "
            f"{decimal(report.bytes_before)} as {decimal(report.bytes_after)}, "
            f"{report.dropped:,} dead rows left out, version {report.version}"
        )
    else:
        sentence = "nothing to compact"
    show_one(compaction_record(report), sentence, as_json=as_json)


@click.command(
    epilog=examples(
        "vecstore expire shop.vecstore --keep-last 10 --yes",
        "vecstore expire shop.vecstore --older-than 7d --dry-run",
    )
)
@opens_store()
@collection_option
@click.option(
    "--older-than", type=DURATION, metavar="TIME",
    help="Keep versions that were the newest within this time, such as 90s, 12h or 7d.",
)  # fmt: skip
@click.option("--keep-last", type=click.IntRange(min=1), metavar="N", help="Keep the newest N.")
@dry_run_option
@yes_option
@json_option
def expire(
    store: Store,
    collection: str | None,
    older_than: timedelta | None,
    keep_last: int | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Let old versions of a collection be read no more.

    With both limits, what either keeps stays. Their files are deleted by `vecstore gc`.
    """
    handle = collection_of(store, collection)
    limits: dict[str, Any] = {"older_than": older_than, "keep_last": keep_last}
    report = handle.expire(**limits, dry_run=True)
    if not dry_run and report.expired:
        question = f"Let {report.expired:,} versions of {handle.name!r} be read no more?"
        confirm(question, yes=yes)
        report = handle.expire(**limits)
    what = "would expire" if dry_run else "expired"
    readable = f"{report.first_version} to {report.version}"
    sentence = f"{report.expired:,} versions {what}; {readable} can be read"
    show_one(expiry_record(report, dry_run=dry_run), sentence, as_json=as_json)


@click.command(
    epilog=examples(
        "vecstore gc shop.vecstore --dry-run",
        "vecstore gc shop.vecstore --grace 1d --yes --json",
    )
)
@opens_store()
@click.option(
    "--grace", type=DURATION, metavar="TIME", default="1h", show_default=True,
    help="Leave files that were written, or whose versions expired, within this time.",
)  # fmt: skip
@dry_run_option
@yes_option
@json_option
def gc(store: Store, grace: timedelta, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Delete the files that no readable version of any collection has."""
    report = store.gc(grace=grace, dry_run=True)
    if not dry_run and report.files:
        confirm(f"Delete {report.files:,} files, {decimal(report.bytes)}?", yes=yes)
        report = store.gc(grace=grace)
    sentence = (
        f"{'would delete' if dry_run else 'deleted'} {report.files:,} files, "
        f"{decimal(report.bytes)}"
    )
    show_one(garbage_record(report, dry_run=dry_run), sentence, as_json=as_json)
