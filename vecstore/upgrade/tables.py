"""Score tables of an assessment: all queries against the sample, and against what is around it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vecstore.rows import RowSet
from vecstore.search.scoring import score_table
from vecstore.upgrade.bridges import Bridges
from vecstore.upgrade.questions import Questions
from vecstore.upgrade.sample import Sample, drawn_rows
from vecstore.upgrade.simulation import Scores, Table, Tables, Words
from vecstore.upgrade.supply import Supply
from vecstore.version import OpenVersion
from vecstore_translators.calibration import ScoreCalibration

__all__ = ["all_tables"]

# Documents outside the sample that are scored, to stand for all.
_MOST_OUTSIDE = 10_000
# Of them, those whose words are looked up for a query; the others have few in common with it.
_MOST_MATCHES = 1_000


def all_tables(
    version: OpenVersion,
    corpus: RowSet,
    sample: Sample,
    questions: Questions,
    bridges: Bridges,
    old: Supply,
    new: Supply,
    *,
    seed: int,
) -> Tables:
    """Score every query against every document, in every way.

    Parameters
    ----------
    corpus : RowSet
        The items that are searched.
    """
    source, target = old.record.space, new.record.space
    others = (corpus & old.native) - RowSet.of(sample.rows)
    outside = drawn_rows(others, _MOST_OUTSIDE, seed=seed).to_array()
    stands_for = len(others) / max(len(outside), 1)
    X = old.gather(outside)
    covered = new.native.contains(outside)

    def found(own: Scores, others: Scores) -> Table:
        return Table.of(own, others, stands_for=stands_for)

    native = score_table(questions.target, sample.Y, target.kernel_metric)
    native_outside = score_table(
        questions.target, new.gather(outside[covered]), target.kernel_metric
    )
    translated, forward = (
        score_table(questions.target, vectors, target.kernel_metric) + np.float32(bridges.offset)
        for vectors in (bridges.translated, bridges.documents(X))
    )
    pulled, query = (
        score_table(bridges.queries, vectors, source.kernel_metric) for vectors in (sample.X, X)
    )
    if len(new.native):
        # Natively found documents are on another scale, to which a search brings the others.
        reference, wanted = bridges.reference
        calibrated = ScoreCalibration.fit(
            score_table(bridges.queries, reference, source.kernel_metric),
            score_table(questions.target, wanted, target.kernel_metric),
        )
        pulled, query = calibrated(pulled), calibrated(query)
    for scores in (forward, query):
        scores[:, covered] = native_outside
    table = found(np.where(sample.covered, native, translated), forward)
    return Tables(
        stands_for=stands_for,
        native=_native(native, table),
        forward=table,
        query=found(np.where(sample.covered, native, pulled), query),
        translated=translated,
        stay=None
        if questions.source is None
        else found(
            *(score_table(questions.source, v, source.kernel_metric) for v in (sample.X, X))
        ),
        naive=None
        if source.dim != target.dim
        else found(
            *(score_table(questions.target, v, source.kernel_metric) for v in (sample.X, X))
        ),
        words=_words(version, sample, outside, questions),
    )


def _native(native: Scores, forward: Table) -> Table:
    """Return the native table; its spread shrinks from the sample as that of translation does."""
    inside = np.maximum(forward.inside.std(axis=1, keepdims=True), np.float32(1e-9))
    spread = native.std(axis=1, keepdims=True) * forward.spread / inside
    return Table(inside=native, outside=native[:, :0], spread=spread)


def _words(
    version: OpenVersion, sample: Sample, outside: NDArray[np.int64], questions: Questions
) -> Words | None:
    """Return BM25 of every query and document; None where it cannot be judged.

    Overlap with the new model's answer cannot: words make every answer less like it.
    """
    if questions.relevant is None:
        return None
    found = version.words(questions.texts, None)
    if found is None or not sample.characters:
        return None
    scale = found.index.search(found.texts, 1, allowed=version.snapshot.live).best
    scale = np.maximum(scale, np.float32(1e-9))[:, None]
    rows: NDArray[np.int64] = np.broadcast_to(sample.rows, (len(questions), len(sample.rows)))
    inside = found.index.score(found.texts, rows) / scale
    around = np.zeros((len(questions), len(outside)), dtype=np.float32)
    if len(outside):
        hits = found.index.search(
            found.texts, min(_MOST_MATCHES, len(outside)), allowed=RowSet.of(outside)
        )
        query, place = np.nonzero(hits.row_ids >= 0)
        columns = np.searchsorted(outside, hits.row_ids[query, place])
        around[query, columns] = hits.scores[query, place]
    return Words(inside=inside, outside=around / scale)
