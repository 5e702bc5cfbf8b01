"""Views: every source as blocks of vectors under an inner product or an L2 kernel.

A *native* view is the stored vectors themselves. A forward map F(x) = xW + b gives two
more, computed once per file and kept as memory-mapped caches beside the data:

rewrite
    F(x), with unit norm under cosine; searched with the query as it is.
fold
    nu(x) [x, 1] in d_s + 1 dimensions with nu(x) = 1 / |F(x)|; searched with [Wq, q.b],
    because cos(q, F(x)) = ((Wq).x + q.b) nu(x). Under l2 one more component carries
    |F(x)|^2, because -|q - F(x)|^2 = 2 (Wq).x + 2 q.b - |F(x)|^2 - |q|^2.

A cache is named after the translator and the file it was made from, both immutable, so it
can be missing or damaged but never stale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vecstore.catalog import FileRecord, SpaceRecord
from vecstore.errors import CorruptFileError, StorageError, UnsupportedOperationError
from vecstore.indexes.exact import checked_queries
from vecstore.segment_cache import SegmentCache
from vecstore.snapshot import LiveVectors
from vecstore.spaces import KernelMetric, Space
from vecstore.storage.root import checksum
from vecstore.storage.vectors import VectorSegment, parse_vectors, write_vectors
from vecstore_translators import AffineTranslator, Translator

__all__ = ["Form", "View", "folded_queries", "is_whole_cache"]

Form = Literal["native", "rewrite", "fold"]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View:
    """The vectors of one space in one form.

    Attributes
    ----------
    record : SpaceRecord
        The space whose rows these are.
    target : Space
        The space whose scores the view gives (the same space for a native view).
    translator : Translator or None
        The forward map; None for a native view.
    translator_id : str or None
        Identity of the map, for naming caches and matching indexes.
    """

    record: SpaceRecord
    target: Space
    form: Form = "native"
    translator: Translator | None = None
    translator_id: str | None = None

    @property
    def metric(self) -> KernelMetric:
        """The kernel that gives this view's scores."""
        return "ip" if self.form == "fold" else self.target.kernel_metric

    @property
    def dim(self) -> int:
        """Dimension of the view's vectors."""
        if self.form == "native":
            return self.record.space.dim
        if self.form == "rewrite":
            return self.target.dim
        return self.record.space.dim + (2 if self.target.metric == "l2" else 1)

    @property
    def unit_norm(self) -> bool:
        """Whether float16 vectors must be renormalised after widening."""
        return self.form == "native" and self.record.space.normalised

    def queries(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bring queries of the target space to the form this view is searched with."""
        if self.form != "fold":
            return queries
        return checked_queries(folded_queries(self._affine, queries, self.target), self.dim)

    def vectors(self, live: LiveVectors, cache: SegmentCache, directory: str) -> NDArray[Any]:
        """Return the vectors of a file in this form, row-aligned with the file.

        Returns
        -------
        ndarray of shape (n, self.dim), float32 or float16
        """
        if self.form == "native":
            return live.segment.vectors
        if self.form == "fold":
            _ = self._affine  # refuses, before any work, a map that cannot be folded
        key = f"{self.translator_id}-{self.form}"
        path = f"data/{directory}/translated/{key}/{live.record.id}.arrow"
        segment = cache.get(
            f"{key}/{live.record.id}", lambda: self._open_or_make(live, cache, path)
        )
        return segment.vectors

    @property
    def _affine(self) -> AffineTranslator:
        affine = self.translator.affine if self.translator is not None else None
        if affine is None:
            raise UnsupportedOperationError(
                f"execution='fold' needs an affine translator, {self.translator!r} is not; use "
                "execution='rewrite' or 'rescore'"
            )
        return affine

    def _open_or_make(self, live: LiveVectors, cache: SegmentCache, path: str) -> VectorSegment:
        labels = _labels(live.record, str(self.translator_id), self.form)
        cached = self._open_cached(live, cache, path, labels)
        if cached is not None:
            return cached
        vectors = self._make(live)
        labels["vecstore.content"] = _content(live.segment.row_ids, vectors)
        try:
            write_vectors(
                cache.root, path, row_ids=live.segment.row_ids, vectors=vectors, labels=labels
            )
        except StorageError:
            # A read-only or full disk must not fail a search: this time it lives in memory.
            return VectorSegment(row_ids=live.segment.row_ids, vectors=vectors)
        made = self._open_cached(live, cache, path, labels)
        return made or VectorSegment(row_ids=live.segment.row_ids, vectors=vectors)

    def _open_cached(
        self, live: LiveVectors, cache: SegmentCache, path: str, labels: dict[str, str]
    ) -> VectorSegment | None:
        """Map a cache file if it is whole and was made from these rows by this map."""
        buffer = cache.root.map_cache(path)
        if buffer is None:
            return None
        try:
            segment, found = parse_vectors(buffer, path=path, dim=self.dim)
        except CorruptFileError:
            return None
        whole = found == labels | {"vecstore.content": _content(segment.row_ids, segment.vectors)}
        same_rows = np.array_equal(segment.row_ids, live.segment.row_ids)
        return segment if whole and same_rows else None

    def _make(self, live: LiveVectors) -> NDArray[np.float32]:
        """Translate a file's vectors into this form."""
        from vecstore.gpu.translate import translate  # knows networks, which few maps are

        assert self.translator is not None
        source = np.asarray(live.segment.vectors, dtype=np.float32)
        if self.record.space.normalised and live.segment.vectors.dtype == np.float16:
            source = source / np.linalg.norm(source, axis=1, keepdims=True)
        translated = translate(self.translator, source)
        if self.form == "rewrite":
            return unit_rows(translated) if self.target.normalised else translated
        folded = np.ones((len(source), self.dim), dtype=np.float32)
        folded[:, : source.shape[1]] = source
        squares = np.einsum("ij,ij->i", translated, translated)
        if self.target.metric == "l2":
            folded[:, -1] = squares
        elif self.target.metric == "cosine":
            folded *= _inverse(np.sqrt(squares))[:, None]
        return folded


def is_whole_cache(
    buffer: pa.Buffer | None, *, source: FileRecord, translator_id: str, form: str
) -> bool:
    """Say whether a cache file holds what was written into it, made from a file by a map."""
    try:
        segment, found = parse_vectors(buffer or pa.py_buffer(b""), path=translator_id)
    except CorruptFileError:
        return False
    content = _content(segment.row_ids, segment.vectors)
    return found == _labels(source, translator_id, form) | {"vecstore.content": content}


def _labels(source: FileRecord, translator_id: str, form: str) -> dict[str, str]:
    """Return what a cache file says of its origin."""
    return {
        "vecstore.format": "1",
        "vecstore.source": source.file.checksum,
        "vecstore.translator": translator_id,
        "vecstore.form": form,
    }


def folded_queries(
    affine: AffineTranslator, queries: NDArray[np.float32], target: Space
) -> NDArray[np.float32]:
    """Return [Wq, q.b] (under l2 [2Wq, 2q.b - |q|^2, -1]) for a folded view.

    Parameters
    ----------
    queries : ndarray of shape (n, d_t), float32
        As the target space prepares them.

    Returns
    -------
    ndarray of shape (n, d_s + 1) or (n, d_s + 2), float32
    """
    pulled = queries @ affine.weight.T
    offset = queries @ affine.bias
    if target.metric != "l2":
        return np.column_stack([pulled, offset]).astype(np.float32, copy=False)
    squares = np.einsum("ij,ij->i", queries, queries)
    minus_one = np.full(len(queries), -1, dtype=np.float32)
    folded = np.column_stack([2 * pulled, 2 * offset - squares, minus_one])
    return folded.astype(np.float32, copy=False)


def unit_rows(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale rows to unit norm in place; a zero row, which has no direction, stays zero."""
    vectors *= _inverse(np.linalg.norm(vectors, axis=1))[:, None]
    return vectors


def _inverse(norms: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.divide(1, norms, out=np.zeros_like(norms), where=norms > 0)


def _content(row_ids: NDArray[np.int64], vectors: NDArray[Any]) -> str:
    """Return the checksum that a cache file carries of its own rows."""
    return "".join(
        checksum(pa.py_buffer(np.ascontiguousarray(part))) for part in (vectors, row_ids)
    )
