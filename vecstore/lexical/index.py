"""LexicalIndex: BM25 scores of documents for texts, by row id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
import tantivy
from numpy.typing import NDArray

from vecstore.lexical.schema import BODY, ROW, analyzer, schema
from vecstore.rows import RowSet

__all__ = ["LexicalHits", "LexicalIndex"]

# Up to here a filter is cheaper as a list of rows inside the query than as a longer answer.
_LISTED_ROWS = 1_000
_SLACK = 1.5
# Up to here a query for each row is cheaper than a set of rows (0.4 against 1.1 ms for 100).
_FEW_ROWS = 500


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LexicalHits:
    """The best rows of each text by BM25.

    Attributes
    ----------
    scores : ndarray of shape (texts, k), float32, descending, -inf where nothing was found
    row_ids : ndarray of shape (texts, k), int64, -1 where nothing was found
    best : ndarray of shape (texts,), float32
        The best score of any document of the index, filtered out or not; 0 if no word occurs.
        Scores divided by it do not depend on how rare the words of a query are.
    """

    scores: NDArray[np.float32]
    row_ids: NDArray[np.int64]
    best: NDArray[np.float32]


@final
class LexicalIndex:
    """Documents as they were when it was opened; it may hold more rows than a version shows.

    Scores are Okapi BM25 (Robertson & Zaragoza 2009, equation 3.15) with k1 = 1.2 and b = 0.75;
    document frequencies count all documents of the index. Thread-safe.
    """

    def __init__(self, index: tantivy.Index, *, language: str) -> None:
        self._searcher = index.searcher()
        self._analyzer = analyzer(language)

    @cached_property
    def rows(self) -> RowSet:
        """The rows whose documents it holds."""
        return RowSet.of(self._run(tantivy.Query.all_query(), self._searcher.num_docs)[1])

    def search(self, texts: Sequence[str], k: int, *, allowed: RowSet) -> LexicalHits:
        """Return the k best of the allowed rows for each text.

        Equal scores are ordered by ascending row id.
        """
        scores = np.full((len(texts), k), -np.inf, dtype=np.float32)
        row_ids = np.full((len(texts), k), -1, dtype=np.int64)
        best = np.zeros(len(texts), dtype=np.float32)
        for number, text in enumerate(texts):
            query = self._query(text)
            if query is None:
                continue
            found, rows, best[number] = self._best(query, k, allowed)
            order = np.lexsort((rows, -found))[:k]
            scores[number, : len(order)] = found[order]
            row_ids[number, : len(order)] = rows[order]
        return LexicalHits(scores=scores, row_ids=row_ids, best=best)

    def score(self, texts: Sequence[str], row_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the scores of given rows.

        Parameters
        ----------
        row_ids : ndarray of shape (texts, m), int64
            Each text's own rows; -1 for none.

        Returns
        -------
        ndarray of shape (texts, m), float32
            0 where no word of the text occurs.
        """
        scores = np.zeros(row_ids.shape, dtype=np.float32)
        for number, text in enumerate(texts):
            query = self._query(text)
            wanted = row_ids[number]
            listed = np.unique(wanted[wanted >= 0])
            if query is None or not len(listed):
                continue
            found, rows = self._run(_restricted(query, listed), len(listed))
            values = np.zeros(len(listed), dtype=np.float32)
            values[np.searchsorted(listed, rows)] = found
            at = np.minimum(np.searchsorted(listed, wanted), len(listed) - 1)
            scores[number] = np.where(wanted >= 0, values[at], 0)
        return scores

    def _best(
        self, query: tantivy.Query, k: int, allowed: RowSet
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], float]:
        """Return at least the k best allowed rows, if there are as many, and the best score."""
        whole = self._searcher.num_docs
        share = len(allowed) / max(whole, 1)
        if len(allowed) <= _LISTED_ROWS and share < 1:
            best, _ = self._run(query, 1)
            inside = _restricted(query, allowed.to_array())
            found, rows = self._run(inside, max(k, 1)) if len(allowed) else (best[:0], _NO_ROWS)
            return found, rows, float(best[0]) if len(best) else 0.0
        asked = k if share >= 1 else int(k / share * _SLACK) + k
        while True:
            found, rows = self._run(query, min(asked, whole))
            keep = allowed.contains(rows)
            if keep.sum() >= k or len(rows) < asked or asked >= whole:
                return found[keep], rows[keep], float(found[0]) if len(found) else 0.0
            asked *= 4

    def _run(self, query: tantivy.Query, k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        hits = self._searcher.search(query, max(k, 1), count=False).hits
        rows = self._searcher.fast_field_values(ROW, [address for _, address in hits])
        return np.array([s for s, _ in hits], np.float32), np.array(rows, np.int64)

    def _query(self, text: str) -> tantivy.Query | None:
        """Return a query for any of the text's words; None if it has none."""
        words = dict.fromkeys(self._analyzer.analyze(text))
        terms = [tantivy.Query.term_query(schema(), BODY, word, "freq") for word in words]
        should = [(tantivy.Occur.Should, term) for term in terms]
        return tantivy.Query.boolean_query(should) if should else None


_NO_ROWS = np.empty(0, dtype=np.int64)


def _restricted(query: tantivy.Query, rows: NDArray[np.int64]) -> tantivy.Query:
    """Return the query over some rows only; being listed adds nothing to a score."""
    if len(rows) <= _FEW_ROWS:
        wanted = [tantivy.Query.term_query(schema(), ROW, row) for row in rows.tolist()]
        listed = tantivy.Query.boolean_query([(tantivy.Occur.Should, one) for one in wanted])
    else:
        listed = tantivy.Query.term_set_query(schema(), ROW, rows.tolist())
    inside = tantivy.Query.const_score_query(listed, 0.0)
    must = tantivy.Occur.Must
    return tantivy.Query.boolean_query([(must, inside), (must, query)])
