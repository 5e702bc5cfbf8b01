"""Ctrl-C: whatever becomes of the exception, the command says that it was interrupted."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import vecstore
from vecstore.tuning import advice
from vecstore.upgrade.backfill_job import BackfillProgress
from vecstore_cli import main as program
from vecstore_cli.commands import backfill as backfill_command
from vecstore_cli.commands import files

SHOP = "shop.vecstore"
pytestmark = pytest.mark.usefixtures("heeds_interrupts")


class Lost:
    """An interrupt that arrives in a destructor, where Python prints the exception and goes on."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Collect what Python could not raise."""
    found: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: found.append(what.exc_type))
    return found


def test_an_ingest_job_stops_at_the_next_batch_after_an_interrupt_that_was_lost(
    shop: Path, lost: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    upsert = vecstore.Collection.upsert

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        Lost()
        return upsert(*args, **kwargs)

    line = ["ingest", SHOP, "items.parquet", "--space", "v1", "--batch-rows", "2"]
    with monkeypatch.context() as patched:
        patched.setattr(vecstore.Collection, "upsert", interrupted)
        assert program.main(line) == 130
    assert lost == [KeyboardInterrupt]
    assert capsys.readouterr().err.strip() == "Interrupted; what was committed stays."
    with vecstore.open(SHOP) as store:
        assert len(store.collection("products")) == 82
    assert program.main([*line, "--json"]) == 0
    assert '"resumed_from": 2' in capsys.readouterr().out


def test_a_command_that_finished_all_the_same_does_not_end_in_success(
    shop: Path, lost: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGINT)
    opened = vecstore.open

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        Lost()
        return opened(*args, **kwargs)

    monkeypatch.setattr(vecstore, "open", interrupted)
    assert program.main(["count", SHOP]) == 130
    said = capsys.readouterr()
    assert (said.out, said.err) == ("80\n", "Interrupted; what was committed stays.\n")
    assert signal.getsignal(signal.SIGINT) is before


def test_a_backfill_that_was_interrupted_in_its_last_batch_says_so(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextmanager
    def interrupted() -> Iterator[Any]:
        def tell(state: BackfillProgress) -> None:
            if state.done == state.total:
                signal.raise_signal(signal.SIGINT)

        yield tell

    monkeypatch.setattr(backfill_command, "backfilling", interrupted)
    encoder = ["--encoder", "vectors:v2.parquet?model=new-model"]
    assert program.main(["backfill", SHOP, "--to", "v2", *encoder, "--json"]) == 130
    said = capsys.readouterr()
    assert '"finished": true' in said.out
    assert said.err == "Interrupted; what was committed stays.\n"


def test_an_ingest_job_interrupted_in_an_index_has_its_rows_and_goes_on_with_the_index(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextmanager
    def interrupted() -> Iterator[Any]:
        yield None, lambda *_: signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(advice, "BREAK_EVEN", 1)
    line = ["ingest", SHOP, "new.npy", "--ids", "rows", "--space", "v2", "--json"]
    with monkeypatch.context() as patched:
        patched.setattr(files, "ingesting", interrupted)
        assert program.main(line) == 130
    assert capsys.readouterr().out == ""
    assert program.main(["count", SHOP]) == 0
    assert capsys.readouterr().out == "84\n"
    assert program.main(line) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["resumed_from"], done["rows_written"]) == (4, 4)
    [made] = done["indexes"]
    assert (made["space"], made["rows"]) == ("v2", 44)
    assert made["report"]["reached"]


def test_a_process_that_is_to_ignore_interrupts_ignores_them(shop: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        signal.raise_signal(signal.SIGINT)
        assert program.main(["count", SHOP]) == 0
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
