"""`vecstore ingest` and `export`: files in and out of a collection."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, get_args

import click

from vecstore import Collection, Space, Store
from vecstore.errors import NotFoundError
from vecstore.guards import Guarding
from vecstore.spaces import Metric
from vecstore_cli.interrupts import interruptible
from vecstore_cli.options import (
    PAIR,
    collection_of,
    collection_option,
    examples,
    json_option,
    opens_store,
)
from vecstore_cli.output import show_json, show_one
from vecstore_cli.progress import counting, ingesting
from vecstore_cli.records import built_sentence, index_record
from vecstore_ingest import FORMATS, ColumnMapping, Source
from vecstore_ingest import export as export_collection
from vecstore_ingest import ingest as ingest_files
from vecstore_ingest.formats.reader import STDIN

__all__ = ["export", "ingest"]


@click.command(
    epilog=examples(
        "vecstore ingest shop.vecstore items.parquet --space v1",
        "vecstore ingest shop.vecstore items.jsonl -c new --space v1 --dim 3 --model my-model",
        "vecstore ingest shop.vecstore new.npy --ids new.txt --space v2 --mode add-vectors"
        " --on-existing replace",
        "vecstore ingest shop.vecstore bad.jsonl --space v1 --on-error skip --rejects bad.log",
        "cat items.jsonl | vecstore ingest shop.vecstore - --format jsonl --space v1",
    )
)
@opens_store()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@collection_option
@click.option("--space", metavar="SPACE", help="Where vectors go that are not named like a space.")
@click.option("--dim", type=int, help="Create collection and space, if missing, of this dimension.")
@click.option("--metric", type=click.Choice(get_args(Metric)), help="With --dim; default cosine.")
@click.option("--model", help="With --dim: the embedding model.")
@click.option("--format", type=click.Choice(list(FORMATS)), help="Default: the file's extension.")
@click.option(
    "--ids", metavar="FILE|rows",
    help="For files of vectors only: a file of ids, or 'rows' for row numbers.",
)  # fmt: skip
@click.option("--id", "id_column", metavar="COLUMN", help="Column of ids.")
@click.option(
    "--vector", "vectors", multiple=True, metavar="COLUMN[=SPACE]",
    help="Column of vectors. Repeatable.",
)  # fmt: skip
@click.option("--document", metavar="COLUMN", help="Column of texts; '' for none.")
@click.option(
    "--metadata", multiple=True, metavar="COLUMN",
    help="Metadata column; default: all that are left. Repeatable.",
)  # fmt: skip
@click.option("--exclude", multiple=True, metavar="COLUMN", help="Leave out. Repeatable.")
@click.option("--rename", type=PAIR, multiple=True, metavar="COLUMN=NAME", help="Repeatable.")
@click.option(
    "--type", "types", type=PAIR, multiple=True, metavar="COLUMN=TYPE",
    help="Arrow type of a metadata column, such as int64 or timestamp[s]. Repeatable.",
)  # fmt: skip
@click.option(
    "--mode", type=click.Choice(["upsert", "add-vectors"]), default="upsert", show_default=True,
    help="Write items whole, or attach vectors to items that exist.",
)  # fmt: skip
@click.option(
    "--on-existing", type=click.Choice(["error", "skip", "replace"]), default="error",
    show_default=True, help="For add-vectors: where the item has a vector in the space.",
)  # fmt: skip
@click.option("--batch-rows", type=int, help="Rows per commit.")
@click.option(
    "--on-error", type=click.Choice(["stop", "skip"]), default="stop", show_default=True,
    help="At a bad row.",
)  # fmt: skip
@click.option("--rejects", metavar="FILE", help="With skip: where bad rows go, as JSON lines.")
@click.option(
    "--guard", type=click.Choice(get_args(Guarding)), default="refuse", show_default=True,
    help="At vectors that look like another space's: stop at those that surely are and speak of "
    "the rest, only speak, or do not look.",
)  # fmt: skip
@click.option("--no-index", is_flag=True, help="Build no index at the end.")
@click.option("--restart", is_flag=True, help="Forget where an interrupted run of this job was.")
@json_option
def ingest(
    store: Store,
    files: tuple[str, ...],
    collection: str | None,
    space: str | None,
    dim: int | None,
    metric: Metric | None,
    model: str | None,
    format: str | None,
    ids: str | None,
    id_column: str | None,
    vectors: tuple[str, ...],
    document: str | None,
    metadata: tuple[str, ...],
    rename: tuple[tuple[str, str], ...],
    types: tuple[tuple[str, str], ...],
    exclude: tuple[str, ...],
    mode: str,
    no_index: bool,
    restart: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Read files into a collection; - is standard input (JSONL or CSV).

    Batches are committed one by one. A job that was interrupted goes on where it was when the same
    command is run again, and ends with exactly the rows of one clean run.

    At the end, spaces that have become large enough for an index to pay get one, as `vecstore index
    build` chooses and tunes it; one that leaves too many new rows out is built again. By then all
    rows are committed: interrupted, the same command goes on with the index.
    """
    if dim is None and (metric is not None or model is not None):
        raise click.UsageError("--metric and --model describe a space to create; pass --dim too")
    if dim is None:
        handle = collection_of(store, collection)
    elif space is None:
        raise click.UsageError("--dim creates a space; name it with --space")
    else:
        wanted = Space(name=space, dim=dim, metric=metric or "cosine", model=model)
        handle = _with_space(store, collection, wanted)
    mapping = ColumnMapping(
        id=id_column,
        vectors=_columns(vectors, handle, space) if vectors else None,
        document=document,
        include=metadata or None,
        exclude=exclude,
        rename=dict(rename),
        types=dict(types),
    )
    with ingesting() as (progress, index_progress):
        report = ingest_files(
            handle,
            [Source(path=path, format=format, ids=ids) for path in files],
            mapping=mapping,
            space=space,
            mode="upsert" if mode == "upsert" else "add_vectors",
            resume=not restart,
            progress=interruptible(progress),
            index=not no_index,
            index_progress=interruptible(index_progress),
            **options,
        )
    indexes = [index_record(made) for made in report.indexes]
    record = {"collection": handle.name, "version": handle.version, **asdict(report)}
    record["indexes"] = indexes
    resumed = f", {report.resumed_from:,} of them before" if report.resumed_from else ""
    rejected = f", {report.rows_rejected:,} rejected" if report.rows_rejected else ""
    written = f"{report.rows_written:,} rows written{resumed}{rejected}, version {handle.version}"
    show_one(record, "\n".join([written, *map(built_sentence, indexes)]), as_json=as_json)


@click.command(
    epilog=examples(
        "vecstore export shop.vecstore items-again.parquet",
        "vecstore export shop.vecstore - --space v1 | head -n 1",
        "vecstore export shop.vecstore v1.npy --space v1",
    )
)
@opens_store()
@click.argument("file")
@collection_option
@click.option(
    "--space", "spaces", multiple=True, metavar="SPACE",
    help="Whose vectors to write; default: all. Repeatable.",
)  # fmt: skip
@click.option(
    "--format",
    type=click.Choice(["parquet", "arrow", "jsonl", "npy"]),
    help="Default: the extension. npy holds the vectors of one --space, NAME.ids.npy their ids.",
)
@click.option("--batch-rows", type=int, default=8192, show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace the file if it exists.")
@json_option
def export(
    store: Store,
    file: str,
    collection: str | None,
    spaces: tuple[str, ...],
    format: Any,
    batch_rows: int,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write all items with their vectors to a file; - is JSON lines on standard output.

    `vecstore ingest` of the file restores the items.
    """
    handle = collection_of(store, collection)
    total = len(handle)
    with counting("export") as progress:
        report = export_collection(
            handle,
            file,
            spaces=list(spaces) or None,
            format=format,
            batch_rows=batch_rows,
            overwrite=overwrite,
            progress=None if progress is None else lambda rows: progress(rows, total),
        )
    sentence = f"{report.rows:,} rows written to {report.path}"
    if file == STDIN:
        # Standard output is taken by the rows.
        click.echo(sentence, err=True)
    elif as_json:
        show_json(asdict(report))
    else:
        click.echo(sentence)


def _with_space(store: Store, collection: str | None, wanted: Space) -> Collection:
    """Return the collection, with the space; make either if it is missing."""
    if collection is not None:
        handle = store.create_collection(collection, exist_ok=True)
    else:
        handle = collection_of(store, None)
    if wanted.name in handle.spaces:
        handle.spaces[wanted.name].space.require_same(wanted)
    else:
        handle.create_space(wanted.name, dim=wanted.dim, metric=wanted.metric, model=wanted.model)
    return handle


def _columns(vectors: tuple[str, ...], handle: Collection, space: str | None) -> dict[str, str]:
    """Return the space that each column goes to, by default the one of --space."""
    columns = {}
    for text in vectors:
        column, sign, named = text.partition("=")
        target = named if sign else space
        if target is None:
            names = list(handle.spaces)
            if len(names) != 1:
                raise NotFoundError(
                    f"--vector {text}: expected COLUMN=SPACE or --space; the collection has "
                    f"{', '.join(names) or 'no spaces yet'}"
                )
            target = names[0]
        columns[column] = target
    return columns
