"""`vecstore upgrade`: from one model generation to the next."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from vecstore import Collection, Store, UpgradeAssessment
from vecstore.arguments import DEFAULT_DEPTHS
from vecstore.filters import Where
from vecstore.upgrade.report import write_report
from vecstore_cli.commands.generations import refit, retire, rollback, status, switch
from vecstore_cli.errors import BELOW_RETENTION
from vecstore_cli.options import (
    collection_of,
    collection_option,
    examples,
    json_option,
    opens_store,
    where_option,
)
from vecstore_cli.output import show_one
from vecstore_cli.progress import working
from vecstore_ingest import read_qrels, read_queries
from vecstore_translators import families

__all__ = ["upgrade"]


@click.group()
def upgrade() -> None:
    """Go from one model generation to the next: decide first, then move as far as it pays."""


for _command in (status, switch, rollback, refit, retire):
    upgrade.add_command(_command)


@upgrade.command(
    epilog=examples(
        "vecstore upgrade assess shop.vecstore --source v1 --target v2",
        "vecstore upgrade assess shop.vecstore --source v1 --target v2 --queries asked.jsonl "
        "--qrels qrels.txt --report out.html",
        "vecstore upgrade assess shop.vecstore --source v1 --target v2 --queries asked.jsonl "
        "--qrels qrels.txt --budget 0.1 --min-retention 0.9 --json",
    )
)
@opens_store()
@collection_option
@click.option("--source", required=True, metavar="SPACE", help="The old space.")
@click.option("--target", required=True, metavar="SPACE", help="The new space.")
@click.option(
    "--queries", metavar="FILE",
    help="Queries: id, text (column `query` or `text`), and vectors in a column named like each "
    "space; Parquet, JSONL, CSV, or - for JSON lines on standard input. A .npy file holds vectors "
    "of the new space. Without vectors, the spaces' encoders embed the texts. Default: sampled "
    "documents ask.",
)  # fmt: skip
@click.option(
    "--qrels", metavar="FILE",
    help="Which items answer which query: lines `query 0 item gain` (TREC) or `query item gain`, "
    "or JSONL with these names. Queries without an id have their numbers from 0.",
)  # fmt: skip
@click.option("-k", "--k", "k", type=int, default=10, show_default=True, help="Hits that count.")
@click.option(
    "--depth", "depths", type=int, multiple=True,
    help="Shortlist of a cascade. Repeatable; default: "
    f"{', '.join(map(str, DEFAULT_DEPTHS))}.",
)  # fmt: skip
@click.option(
    "--sample", type=int, metavar="N",
    help="Documents that are ranked, and so the most that are embedded; 0 embeds none. Default: "
    "2000, but a fifth of the items if that is less, and at least 200.",
)  # fmt: skip
@click.option(
    "--budget", type=float, default=1.0, show_default=True, metavar="SHARE",
    help="Of the items, what the recommended option may embed before its first query.",
)  # fmt: skip
@click.option("--price", type=float, metavar="X", help="Of embedding a million tokens.")
@click.option(
    "--family", "chosen", multiple=True, type=click.Choice(list(families())),
    help="What the translator is chosen from; default: all. Repeatable.",
)  # fmt: skip
@where_option
@click.option("--no-commit", is_flag=True, help="Forget what is embedded, instead of keeping it.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--min-retention", type=float, metavar="R",
    help=f"End with exit code {BELOW_RETENTION} if the recommended option reaches less than this "
    "share of a full re-embed's quality.",
)  # fmt: skip
@click.option("--report", metavar="FILE", help="Write it all as one HTML file, too.")
@json_option
@click.pass_context
def assess(
    ctx: click.Context,
    store: Store,
    collection: str | None,
    source: str,
    target: str,
    queries: str | None,
    qrels: str | None,
    k: int,
    depths: tuple[int, ...],
    sample: int | None,
    budget: float,
    price: float | None,
    chosen: tuple[str, ...],
    where: Where | None,
    no_commit: bool,
    seed: int,
    min_retention: float | None,
    report: str | None,
    as_json: bool,
) -> None:
    """Measure every way to live with two models, and recommend one, which may be to stay.

    Documents are sampled and embedded where a space has an encoder, else the pairs that are there
    are used. What is embedded is kept, as coverage of its space.
    """
    handle = collection_of(store, collection)
    with working() as progress:
        assessment = handle.assess_upgrade(
            source=source,
            target=target,
            **_asked(handle, source, target, queries=queries, qrels=qrels),
            k=k,
            depths=depths or DEFAULT_DEPTHS,
            sample=sample,
            budget=budget,
            price=price,
            family=list(chosen) or None,
            where=where,
            commit=not no_commit,
            seed=seed,
            progress=progress,
        )
    if report is not None:
        click.echo(f"report written to {write_report(assessment, report)}", err=True)
    record = assessment.to_dict()
    del record["pictures"]  # hundreds of points, for the report
    show_one(record, str(assessment), as_json=as_json)
    if min_retention is not None:
        _require_retention(ctx, assessment, min_retention)


@upgrade.command(
    "tune-lexical",
    epilog=examples(
        "vecstore upgrade tune-lexical shop.vecstore --space v2 --queries asked.jsonl "
        "--qrels qrels.txt",
    ),
)
@opens_store()
@collection_option
@click.option("--space", metavar="SPACE", help="The ranking space; default: as a search has it.")
@click.option("--queries", required=True, metavar="FILE", help="As in `upgrade assess`.")
@click.option("--qrels", required=True, metavar="FILE", help="As in `upgrade assess`.")
@click.option("-k", "--k", "k", type=int, default=10, show_default=True, help="Hits that count.")
@where_option
@json_option
def tune_lexical(
    store: Store,
    collection: str | None,
    space: str | None,
    queries: str,
    qrels: str,
    k: int,
    where: Where | None,
    as_json: bool,
) -> None:
    """Choose on judged queries how much words count beside vectors, and keep it.

    Searches for --text that rank in the space use the weight from then on.
    """
    handle = collection_of(store, collection)
    spaces = list(handle.spaces) if space is None else [space]
    with working() as busy:
        busy("searching with every weight")
        found = handle.tune_lexical(
            **_asked(handle, *spaces, queries=queries, qrels=qrels), space=space, k=k, where=where
        )
    show_one(asdict(found), str(found), as_json=as_json)


def _asked(
    collection: Collection, *spaces: str, queries: str | None, qrels: str | None
) -> dict[str, Any]:
    """Return the queries and the judgements that the files hold."""
    if queries is None:
        if qrels is not None:
            raise click.UsageError("--qrels judges queries: say which with --queries")
        return {}
    snapshot = collection.latest().snapshot
    asked = read_queries(queries, spaces=[snapshot.space(name).space for name in spaces])
    judged = None if qrels is None else asked.judged(read_qrels(qrels))
    return {"queries": asked.asked(), "qrels": judged}


def _require_retention(
    ctx: click.Context, assessment: UpgradeAssessment, min_retention: float
) -> None:
    retention = assessment.recommendation.retention
    if retention < min_retention:
        click.echo(
            f"retention {retention:.3f} of {assessment.recommendation.option} is below "
            f"{min_retention:g}",
            err=True,
        )
        ctx.exit(BELOW_RETENTION)
