"""`vecstore backfill`: native vectors for stored documents, the most wanted first."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import get_args

import click

from vecstore import Store
from vecstore.upgrade.priorities import Priority
from vecstore_cli.errors import INTERRUPTED
from vecstore_cli.interrupts import Interrupts
from vecstore_cli.options import (
    collection_of,
    collection_option,
    examples,
    json_option,
    opens_store,
)
from vecstore_cli.output import show_one
from vecstore_cli.progress import backfilling
from vecstore_ingest import encoder_schemes, open_encoder

__all__ = ["backfill"]


@click.command(
    epilog=examples(
        "vecstore backfill shop.vecstore --to v2 --budget 20 --priority demand"
        " --encoder 'vectors:v2.parquet?model=new-model'",
        "vecstore backfill shop.vecstore --to v2 --rate 500 --json"
        " --encoder 'vectors:v2.parquet?model=new-model'",
    )
)
@opens_store()
@collection_option
@click.option("--to", required=True, metavar="SPACE", help="The space that gets the vectors.")
@click.option("--budget", type=int, help="Documents to embed at most; default: all that lack one.")
@click.option(
    "--priority", type=click.Choice(get_args(Priority)), default="demand", show_default=True,
    help="What comes first: what searches returned, what its translation says least about, both, "
    "anything, or what was written first.",
)  # fmt: skip
@click.option(
    "--encoder", metavar="SCHEME:NAME",
    help=f"What embeds the documents ({', '.join(encoder_schemes())}); default: what the space "
    "remembers.",
)  # fmt: skip
@click.option("--batch", type=int, default=256, show_default=True, help="Documents per commit.")
@click.option("--rate", type=float, help="Documents per second at most.")
@click.option("--restart", is_flag=True, help="Forget where an interrupted run of this job was.")
@click.option("--seed", type=int, default=0, show_default=True)
@json_option
def backfill(
    store: Store,
    collection: str | None,
    to: str,
    budget: int | None,
    priority: Priority,
    encoder: str | None,
    batch: int,
    rate: float | None,
    restart: bool,
    seed: int,
    as_json: bool,
) -> None:
    """Embed stored documents that lack a native vector in a space.

    Batches are committed one by one. A job that was interrupted, by Ctrl-C (which ends it after the
    batch in work; exit code 130) or in any other way, goes on where it was when the same command is
    run again. Items without a document are counted and left.
    """
    handle = collection_of(store, collection)
    with ExitStack() as stack:
        opened = None
        if encoder is not None:
            opened = open_encoder(encoder)
            if hasattr(opened, "close"):
                stack.callback(opened.close)
        progress = stack.enter_context(backfilling())
        stop = stack.enter_context(_stopped_by_ctrl_c())
        report = handle.backfill(
            to=to,
            budget=budget,
            priority=priority,
            encoder=opened,
            batch=batch,
            rate=rate,
            progress=progress,
            stop=stop,
            resume=not restart,
            seed=seed,
        )
    show_one(asdict(report), str(report), as_json=as_json)
    if not report.finished:
        click.echo("Interrupted; run the same command again to go on.", err=True)
        click.get_current_context().exit(INTERRUPTED)


@contextmanager
def _stopped_by_ctrl_c() -> Iterator[Callable[[], bool]]:
    """Let the first Ctrl-C end the job after the batch in work, and the second one at once."""
    interrupts = click.get_current_context().find_object(Interrupts) or Interrupts()

    def stop(_signal: int, _frame: object) -> None:
        interrupts.note()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield lambda: interrupts.came
    finally:
        signal.signal(signal.SIGINT, before)
