"""Progress on stderr, for people: where there is no terminal, nothing is printed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from vecstore.upgrade.backfill_job import BackfillProgress
from vecstore_ingest import IngestProgress

__all__ = ["backfilling", "counting", "ingesting", "working"]


@contextmanager
def ingesting() -> Iterator[
    tuple[Callable[[IngestProgress], None] | None, Callable[[str, int, int], None] | None]
]:
    """Show the progress of an ingest job: share of the files, rows, rejects; then its indexes."""
    if not sys.stderr.isatty():
        yield None, None
        return
    with _bar() as progress:
        task = progress.add_task("ingest", total=None, detail="")

        def report(state: IngestProgress) -> None:
            rejected = f", {state.rows_rejected:,} rejected" if state.rows_rejected else ""
            progress.update(
                task,
                total=None if state.fraction is None else 1.0,
                completed=state.fraction or 0.0,
                description=state.file,
                detail=f"{state.rows_written:,} rows{rejected}",
            )

        indexes: dict[str, TaskID] = {}

        def indexed(space: str, done: int, total: int) -> None:
            if space not in indexes:
                indexes[space] = progress.add_task(f"index of {space}", detail="")
            progress.update(
                indexes[space], completed=done, total=total, detail=f"{done:,} of {total:,} rows"
            )

        yield report, indexed


@contextmanager
def backfilling() -> Iterator[Callable[[BackfillProgress], None] | None]:
    """Show the progress of a backfill: documents done of those to do, and the time left."""
    if not sys.stderr.isatty():
        yield None
        return
    with _bar() as progress:
        task = progress.add_task("backfill", total=None, detail="")

        def report(state: BackfillProgress) -> None:
            left = state.eta_seconds
            eta = "" if left is None else f", {timedelta(seconds=round(left))} left"
            progress.update(
                task,
                total=state.total,
                completed=state.done,
                detail=f"{state.done:,} of {state.total:,} documents{eta}",
            )

        yield report


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """Show rows done of rows in all."""
    if not sys.stderr.isatty():
        yield None
        return
    with _bar() as progress:
        task: TaskID = progress.add_task(what, total=None, detail="")
        yield lambda done, total: progress.update(
            task, completed=done, total=total, detail=f"{done:,} of {total:,} rows"
        )


@contextmanager
def working() -> Iterator[Callable[[str], None]]:
    """Show what a command is busy with."""
    if not sys.stderr.isatty():
        yield lambda _what: None
        return
    with Console(stderr=True).status("") as status:
        yield lambda what: status.update(what)


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[detail]}", markup=False),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
