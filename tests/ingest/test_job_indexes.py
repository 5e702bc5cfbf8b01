"""A job ends with the indexes that its rows have made due, and loses no row over them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import vecstore
from vecstore.tuning import advice
from vecstore_ingest import Source, ingest

ROWS = 400


@pytest.fixture(autouse=True)
def break_even(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if an index paid from as many rows on as the files have."""
    monkeypatch.setattr(advice, "BREAK_EVEN", ROWS * 5)


def vectors_file(path: Path, seed: int, rows: int = ROWS) -> Source:
    np.save(path, np.random.default_rng(seed).standard_normal((rows, 5)).astype(np.float32))
    (path.with_suffix(".txt")).write_text("".join(f"{seed}-{n}\n" for n in range(rows)))
    return Source(path=str(path), ids=str(path.with_suffix(".txt")))


def test_what_a_job_made_due_is_built_tuned_and_told(
    docs: vecstore.Collection, tmp_path: Path
) -> None:
    told: list[tuple[str, int, int]] = []
    report = ingest(
        docs,
        vectors_file(tmp_path / "a.npy", 1),
        space="v1",
        index_progress=lambda *state: told.append(state),
    )
    [made] = report.indexes
    assert docs.indexes == (made,)
    assert (made.space, made.rows) == ("v1", ROWS)
    assert made.report["recall"]["mean"] >= 0.95
    assert told[-1] == ("v1", ROWS, ROWS)
    few = ingest(docs, vectors_file(tmp_path / "b.npy", 2, ROWS - 1), space="v1")
    assert few.indexes == ()
    [again] = ingest(docs, vectors_file(tmp_path / "c.npy", 3, 1), space="v1").indexes
    assert again.rows == 2 * ROWS


def test_a_small_job_and_one_that_is_told_not_to_build_none(
    docs: vecstore.Collection, tmp_path: Path
) -> None:
    assert ingest(docs, vectors_file(tmp_path / "a.npy", 1, 9), space="v1").indexes == ()
    report = ingest(docs, vectors_file(tmp_path / "b.npy", 2), space="v1", index=False)
    assert (report.indexes, docs.indexes) == ((), ())


def test_only_spaces_that_the_job_wrote_to_are_looked_at(
    docs: vecstore.Collection, tmp_path: Path
) -> None:
    source = vectors_file(tmp_path / "a.npy", 1)
    ingest(docs, source, space="v1", index=False)
    docs.create_space("v2", dim=5)
    [made] = ingest(docs, source, space="v2", mode="add_vectors").indexes
    assert made.space == "v2"


def test_a_job_interrupted_in_a_build_keeps_its_rows_and_goes_on_with_the_index(
    docs: vecstore.Collection, tmp_path: Path
) -> None:
    def interrupt(space: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    source = vectors_file(tmp_path / "a.npy", 1)
    with pytest.raises(KeyboardInterrupt):
        ingest(docs, source, space="v1", index_progress=interrupt)
    version = docs.version
    assert (len(docs), docs.indexes) == (ROWS, ())
    report = ingest(docs, source, space="v1")
    assert (report.resumed_from, docs.version) == (ROWS, version)
    assert [made.rows for made in report.indexes] == [ROWS]
    # The job is over now: the same call is a new one, which writes every row again.
    assert ingest(docs, source, space="v1", index=False).resumed_from == 0
