"""factory: any FAISS index that a factory string describes, for those who know them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import InvalidArgumentError, UnsupportedOperationError
from vecstore.indexes.base import Answer, Index, IndexPlan, Progress
from vecstore.indexes.blocks import Block, sample_rows
from vecstore.indexes.faiss_body import FaissBody, faiss_metric, selector
from vecstore.indexes.faiss_library import load_faiss, reason
from vecstore.indexes.lists import REFINE_SPEC, SEED, TRAINING_ROWS
from vecstore.indexes.parameters import ParameterSpec, ParameterValue
from vecstore.rows import RowSet

__all__ = ["FactoryIndex"]


@final
class FactoryIndex(Index[FaissBody]):
    """A FAISS index by its factory string, such as "OPQ48_192,IVF1024,PQ48x4fs" or "HNSW32,SQ8".

    Candidates are ranked by their own vectors, so leave ",Refine(...)" and "IDMap" out of the
    string. What FAISS cannot search under a filter is refused when it is built.
    """

    kind = "factory"
    exact = False
    exact_scores = False
    supports_filter = True
    specs: ClassVar[tuple[ParameterSpec, ...]] = (
        ParameterSpec(
            name="spec",
            default="HNSW32,SQ8",
            when="build",
            summary="The factory string.",
        ),
        ParameterSpec(
            name="nprobe",
            default=16,
            when="search",
            minimum=1,
            maximum=1_000_000,
            summary="Lists looked at per query, if there are lists.",
        ),
        ParameterSpec(
            name="ef_search",
            default=64,
            when="search",
            minimum=1,
            maximum=1_000_000,
            summary="Rows looked at per query, if there is a graph.",
        ),
        REFINE_SPEC,
    )

    @classmethod
    def _build(cls, blocks: Sequence[Block], plan: IndexPlan, progress: Progress) -> FaissBody:
        faiss = load_faiss()
        spec = str(plan.parameters["spec"])
        made = _made(faiss, spec, plan)
        sample = sample_rows(blocks, TRAINING_ROWS, plan.dim, seed=SEED)
        progress(0, plan.rows)
        if len(sample) and not made.is_trained:
            try:
                made.train(sample)
            except RuntimeError as error:
                raise InvalidArgumentError(
                    f"FAISS cannot train {spec!r} on {len(sample):,} rows "
                    f"({reason(error)}); ask for fewer lists or words, or build another kind"
                ) from error
        body = FaissBody.fill(made, blocks, plan, progress)
        if len(sample):
            _require_filter(faiss, body, sample[:1], spec, plan)
        return body

    @classmethod
    def _open(cls, source: Path | bytes, payload_bytes: int, plan: IndexPlan) -> FaissBody:
        return FaissBody.open(source, payload_bytes, plan)

    def _search(
        self,
        queries: NDArray[np.float32],
        k: int,
        allowed: RowSet | None,
        eligible: int,
        settings: Mapping[str, ParameterValue],
    ) -> Answer:
        return _searched(
            load_faiss(), self._body, queries, k, allowed, eligible, len(self), settings
        )


def _made(faiss: Any, spec: str, plan: IndexPlan) -> Any:
    """Return the empty index of a string, or refuse it."""
    if any(word in spec for word in ("Refine", "RFlat", "IDMap")):
        raise InvalidArgumentError(
            f"index parameter 'spec' must not ask for refinement or id maps, got {spec!r}: "
            "candidates are ranked by their own vectors (refine_factor), and ids are kept already"
        )
    try:
        return faiss.index_factory(plan.dim, spec, faiss_metric(faiss, plan))
    except (RuntimeError, TypeError) as error:
        raise InvalidArgumentError(
            f"index parameter 'spec' must be a FAISS factory string for {plan.dim} dimensions "
            f"such as 'IVF256,PQ48x4fs', got {spec!r}: {reason(error)}"
        ) from error


def _require_filter(
    faiss: Any, body: FaissBody, query: NDArray[np.float32], spec: str, plan: IndexPlan
) -> None:
    """Search once under a filter; an index that cannot, or that ignores it, is refused."""
    one = body.row_ids[:1]
    try:
        _, found = _searched(faiss, body, query, 1, RowSet.of(one), 1, plan.rows, plan.parameters)
        honoured = bool(np.isin(found[found >= 0], one).all())
    except RuntimeError as error:
        raise UnsupportedOperationError(
            f"FAISS cannot search {spec!r} under a filter ({reason(error)}), and searches here "
            "must: deletes and where= are filters; choose another factory string"
        ) from error
    if not honoured:
        raise UnsupportedOperationError(
            f"FAISS ignores filters in {spec!r}, and searches here must not: deletes and where= "
            "are filters; choose another factory string"
        )


def _searched(
    faiss: Any,
    body: FaissBody,
    queries: NDArray[np.float32],
    k: int,
    allowed: RowSet | None,
    eligible: int,
    total: int,
    settings: Mapping[str, ParameterValue],
) -> Answer:
    """Search, looking at more where a filter or sparse lists leave places empty."""
    scale = total / eligible
    while True:
        made = _parameters(faiss, body.core, settings, scale, k, selector(faiss, allowed))
        scores, row_ids = body.search(queries, k, made)
        if scale >= total or (row_ids >= 0).all():
            return scores, row_ids
        scale = min(4 * scale, total)


def _parameters(
    faiss: Any, core: Any, settings: Mapping[str, ParameterValue], scale: float, k: int, chosen: Any
) -> Any:
    """Return search parameters of the class that the index wants."""
    if isinstance(core, faiss.IndexIVF):
        lists = min(core.nlist, round(int(settings["nprobe"]) * scale))
        return faiss.SearchParametersIVF(nprobe=lists, sel=chosen)
    if isinstance(core, faiss.IndexHNSW):
        ef = min(core.ntotal, round(max(int(settings["ef_search"]), k) * scale))
        return faiss.SearchParametersHNSW(efSearch=ef, sel=chosen)
    return None if chosen is None else faiss.SearchParameters(sel=chosen)
