"""`vecstore doctor`: whether a store is what its catalog says."""

from __future__ import annotations

from datetime import timedelta

import click
from rich.filesize import decimal

from vecstore import Store
from vecstore.arguments import DOCTOR_GRACE
from vecstore_cli.errors import UNHEALTHY
from vecstore_cli.options import collection_option, examples, json_option, opens_store
from vecstore_cli.output import show_json, show_rows

__all__ = ["doctor"]

_COLUMNS = ["severity", "check", "collection", "file", "finding", "remedy", "repaired"]


@click.command(
    epilog=examples(
        "vecstore doctor shop.vecstore", "vecstore doctor shop.vecstore --repair --json"
    )
)
@opens_store()
@collection_option
@click.option("--repair", is_flag=True, help="Put right what can be without losing anything.")
@click.option(
    "--grace",
    metavar="HOURS",
    type=click.FloatRange(min=0),
    default=DOCTOR_GRACE / timedelta(hours=1),
    show_default=True,
    help="Age at which a file that no version refers to counts as left over.",
)
@json_option
@click.pass_context
def doctor(
    context: click.Context,
    store: Store,
    collection: str | None,
    repair: bool,
    grace: float,
    as_json: bool,
) -> None:
    """Examine a store: catalog, files, checksums, rows, indexes, caches, leftovers.

    Changes nothing unless --repair is given; that builds broken indexes again and removes
    damaged caches and leftovers, nothing else. Ends with exit code 9 if an error (damage to what
    was committed) or a warning (a cache, an index of low recall) is left.
    """
    one = store if collection is None else store.collection(collection)
    report = one.doctor(repair=repair, grace=timedelta(hours=grace))
    if as_json:
        show_json(report.to_dict())
    else:
        show_rows([finding.to_dict() for finding in report.findings], _COLUMNS, as_json=False)
    click.echo(
        f"{report.files:,} files, {decimal(report.bytes)} read in {report.seconds:.1f} s: "
        f"{len(report.findings)} findings, {'healthy' if report.healthy else 'not healthy'}",
        err=True,
    )
    if not report.healthy:
        context.exit(UNHEALTHY)
