"""The contract of an index kind, as small checks that take its class.

Run them over a new kind with::

    @pytest.mark.parametrize("check", INDEX_CHECKS, ids=lambda check: check.__name__)
    def test_contract(check):
        check(MyIndex)

Every check compares with brute force in float64 and raises ``AssertionError`` with what it
saw.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import (
    CorruptFileError,
    DimensionMismatchError,
    InvalidArgumentError,
    NonFiniteError,
    UnsupportedOperationError,
    VecstoreError,
)
from vecstore.indexes.base import Index
from vecstore.indexes.blocks import Block, BlockMetric
from vecstore.indexes.files import measure, read_header, seal
from vecstore.indexes.parameters import ParameterValue
from vecstore.rows import RowSet

__all__ = ["INDEX_CHECKS", "IndexCheck"]

IndexClass = type[Index[Any]]
IndexCheck = Callable[[IndexClass], None]

_METRICS: tuple[BlockMetric, ...] = ("ip", "l2")
_RECALL = 0.95
_K = 10


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """Clustered rows with scattered ids, queries near them, and the true scores."""

    metric: BlockMetric
    row_ids: NDArray[np.int64]
    vectors: NDArray[np.float32]
    queries: NDArray[np.float32]
    scores: NDArray[np.float64]

    @property
    def blocks(self) -> list[Block]:
        """The rows in three blocks of unequal size."""
        parts = np.split(np.arange(len(self.vectors)), [100, len(self.vectors) // 2])
        return [Block(row_ids=self.row_ids[part], vectors=self.vectors[part]) for part in parts]

    def score_of(self, row_ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the true scores of found ids, of which none may be missing."""
        columns = np.searchsorted(self.row_ids, row_ids)
        assert np.array_equal(self.row_ids[columns], row_ids), "an id that was never given"
        return np.take_along_axis(self.scores, columns, axis=1)

    def recall(self, row_ids: NDArray[np.int64], allowed: RowSet | None = None) -> float:
        """Share of found rows that are as good as the true k-th one."""
        scores = self.scores
        if allowed is not None:
            scores = np.where(allowed.contains(self.row_ids), scores, -np.inf)
        k = row_ids.shape[1]
        worst = -np.partition(-scores, k - 1, axis=1)[:, [k - 1]]
        return float((self.score_of(row_ids) >= worst - 1e-5).mean())


def _case(metric: BlockMetric, *, n: int = 2000, dim: int = 24, seed: int = 7) -> _Case:
    """Draw a case; unit vectors for "ip", as in a cosine space."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((40, dim))
    vectors = centres[rng.integers(40, size=n)] + 0.6 * rng.standard_normal((n, dim))
    queries = vectors[rng.choice(n, 50, replace=False)] + 0.3 * rng.standard_normal((50, dim))
    if metric == "ip":
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    single = vectors.astype(np.float32), queries.astype(np.float32)
    vectors, queries = single[0].astype(np.float64), single[1].astype(np.float64)
    # Far beyond n and with gaps, so that a position taken for an id is caught.
    row_ids = np.sort(rng.choice(3_000_000, n, replace=False)) + 5_000_000
    scores = queries @ vectors.T
    if metric == "l2":
        scores = -np.square(queries[:, None, :] - vectors[None, :, :]).sum(axis=2)
    return _Case(
        metric=metric, row_ids=row_ids, vectors=single[0], queries=single[1], scores=scores
    )


def _built(kind: IndexClass, case: _Case) -> Index[Any]:
    """Build with default parameters."""
    return kind.build(case.blocks, dim=case.vectors.shape[1], metric=case.metric)


def _refused(
    error: type[VecstoreError], call: Callable[..., object], *args: Any, **options: Any
) -> None:
    """Assert that the call raises the named error, with a message."""
    message = None
    try:
        call(*args, **options)
    except error as refusal:
        message = str(refusal)
    assert message is not None, f"{error.__name__} was not raised"
    assert len(message) > 20, "a refusal must say what to do"


def _subset(case: _Case, share: float) -> RowSet:
    """Draw allowed rows, among ids that the index does not have."""
    rng = np.random.default_rng(11)
    chosen = rng.choice(case.row_ids, max(1, round(share * len(case.row_ids))), replace=False)
    strangers = np.setdiff1d(np.array([0, 17, 8_500_000]), case.row_ids)
    return RowSet.of(np.concatenate([chosen, strangers]))


def _ways(kind: IndexClass) -> list[dict[str, ParameterValue]]:
    """List the defaults, then every choice of every search parameter that offers some."""
    ways: list[dict[str, ParameterValue]] = [{}]
    for spec in kind.specs:
        ways += [{spec.name: choice} for choice in spec.choices if spec.when == "search"]
    return ways


def check_scores_are_those_of_brute_force(kind: IndexClass) -> None:
    """Scores match float64 brute force, descend, and belong to the ids beside them."""
    for metric in _METRICS:
        case = _case(metric)
        scores, row_ids = _built(kind, case).search(case.queries, _K)
        assert scores.dtype == np.float32
        assert row_ids.dtype == np.int64
        assert scores.shape == row_ids.shape == (len(case.queries), _K)
        assert (np.diff(scores, axis=1) <= 0).all(), "scores must descend"
        if kind.exact_scores:
            np.testing.assert_allclose(scores, case.score_of(row_ids), rtol=1e-4, atol=1e-4)


def check_recall(kind: IndexClass) -> None:
    """Exact kinds find the true rows, others at least 95 % of them; none twice."""
    for metric in _METRICS:
        case = _case(metric)
        _, row_ids = _built(kind, case).search(case.queries, _K)
        recall = case.recall(row_ids)
        assert recall >= (1.0 if kind.exact else _RECALL), f"recall {recall} under {metric}"
        assert all(len(set(row)) == _K for row in row_ids.tolist()), "a row was found twice"


def check_masks_are_honoured(kind: IndexClass) -> None:
    """No row outside the mask is found, and those inside are, at any selectivity."""
    for metric in _METRICS:
        case = _case(metric)
        index = _built(kind, case)
        if not kind.supports_filter:
            everything = RowSet.of(case.row_ids)
            _refused(UnsupportedOperationError, index.search, case.queries, _K, allowed=everything)
            continue
        for share, way in product((0.01, 0.1, 0.5, 1.0), _ways(kind)):
            allowed = _subset(case, share)
            scores, row_ids = index.search(case.queries, _K, allowed=allowed, parameters=way)
            assert (row_ids >= 0).all(), f"places left empty at {share}"
            assert allowed.contains(row_ids).all(), f"a row outside the mask at {share}"
            recall = case.recall(row_ids, allowed)
            assert recall >= (1.0 if kind.exact else _RECALL), f"recall {recall} at {share}"
            if kind.exact_scores:
                np.testing.assert_allclose(scores, case.score_of(row_ids), rtol=1e-4, atol=1e-4)


def check_empty_masks_find_nothing(kind: IndexClass) -> None:
    """Give missing places, not an error, for a mask that is empty or of strangers only."""
    if not kind.supports_filter:
        return
    case = _case("ip")
    index = _built(kind, case)
    for allowed in (RowSet.of([]), RowSet.of([3]), RowSet.of([9_000_000])):
        scores, row_ids = index.search(case.queries, 3, allowed=allowed)
        assert (row_ids == -1).all()
        assert np.isneginf(scores).all()


def check_missing_places_are_padded(kind: IndexClass) -> None:
    """With k beyond the rows (or the allowed ones) the rest is -1 and minus infinity."""
    for metric in _METRICS:
        case = _case(metric, n=300)
        index = _built(kind, case)
        scores, row_ids = index.search(case.queries[:3], 320)
        assert (row_ids[:, 300:] == -1).all()
        assert np.isneginf(scores[:, 300:]).all()
        found = (row_ids >= 0).mean(axis=1) * 320 / 300
        assert (found >= (1.0 if kind.exact else _RECALL)).all(), f"found {found}"
        assert (np.isneginf(scores) == (row_ids == -1)).all()
        if kind.supports_filter:
            four = RowSet.of(case.row_ids[[3, 50, 200, 299]])
            _, row_ids = index.search(case.queries[:3], 6, allowed=four)
            assert (np.sort(row_ids, axis=1)[:, 2:] == case.row_ids[[3, 50, 200, 299]]).all()
            assert (row_ids[:, 4:] == -1).all()


def check_single_query_equals_batch(kind: IndexClass) -> None:
    """Answer a query alone as in a batch."""
    for metric in _METRICS:
        case = _case(metric)
        index = _built(kind, case)
        scores, row_ids = index.search(case.queries, _K)
        for row in range(10):
            alone, alone_ids = index.search(case.queries[row : row + 1], _K)
            np.testing.assert_allclose(alone[0], scores[row], rtol=1e-5, atol=1e-4)
            assert np.mean(alone_ids[0] == row_ids[row]) >= 0.8


def check_keep_masks_and_float16_blocks(kind: IndexClass) -> None:
    """Rows left out by a block's mask are not in the index; float16 rows are widened."""
    case = _case("ip")
    keep = np.random.default_rng(3).random(len(case.vectors)) < 0.5
    half = Block(
        row_ids=case.row_ids, vectors=case.vectors.astype(np.float16), keep=keep, unit_norm=True
    )
    seen: list[tuple[int, int]] = []
    index = kind.build(
        [half], dim=24, metric="ip", progress=lambda done, total: seen.append((done, total))
    )
    kept = case.row_ids[keep]
    assert len(index) == len(kept)
    assert np.array_equal(index.row_ids, kept)
    assert seen[0] == (0, len(kept)), "progress starts at nothing"
    assert seen[-1] == (len(kept), len(kept)), "and ends at everything"
    scores, row_ids = index.search(case.queries, _K)
    assert np.isin(row_ids, kept).all()
    if kind.exact_scores:
        np.testing.assert_allclose(scores, case.score_of(row_ids), atol=2e-3)


def check_progress_can_cancel(kind: IndexClass) -> None:
    """End the build with what the progress callback raises."""

    def cancel(done: int, total: int) -> None:
        raise KeyboardInterrupt

    case = _case("ip", n=300)
    try:
        kind.build(case.blocks, dim=24, metric="ip", progress=cancel)
    except KeyboardInterrupt:
        return
    raise AssertionError("the build went on")


def check_round_trip(kind: IndexClass) -> None:
    """Through bytes and through a file, an index answers bit for bit the same."""
    for metric in _METRICS:
        case = _case(metric)
        index = _built(kind, case)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "index"
            index.write(path)
            assert path.read_bytes() == index.to_bytes()
            for copy in (
                kind.read(path),
                kind.read(path, check=False),
                kind.from_bytes(index.to_bytes()),
            ):
                assert (copy.kind, copy.dim, copy.metric) == (index.kind, index.dim, metric)
                assert dict(copy.parameters) == dict(index.parameters)
                assert np.array_equal(copy.row_ids, index.row_ids)
                for n in (1, 50):
                    before = index.search(case.queries[:n], _K)
                    after = copy.search(case.queries[:n], _K)
                    assert np.array_equal(before[1], after[1])
                    assert np.array_equal(before[0], after[0])


def check_an_empty_index_finds_nothing(kind: IndexClass) -> None:
    """No rows is a size like any other."""
    index = kind.build([], dim=4, metric="l2")
    for copy in (index, kind.from_bytes(index.to_bytes())):
        scores, row_ids = copy.search(np.zeros((2, 4)), 3)
        assert len(copy) == 0
        assert (row_ids == -1).all()
        assert np.isneginf(scores).all()


def check_bad_arguments_are_refused(kind: IndexClass) -> None:
    """Every wrong argument has its named error."""
    case = _case("ip", n=300)
    index = _built(kind, case)
    query = case.queries[:1]
    broken = query.copy()
    broken[0, 5] = np.nan
    repeated = Block(row_ids=np.array([4, 4]), vectors=case.vectors[:2])
    negative = Block(row_ids=np.array([-4, 4]), vectors=case.vectors[:2])
    search, build = index.search, partial(kind.build, dim=24, metric="ip")
    _refused(DimensionMismatchError, search, query[:, :-1], _K)
    _refused(NonFiniteError, search, broken, _K)
    _refused(InvalidArgumentError, search, query, 0)
    _refused(InvalidArgumentError, search, query, 3, parameters={"nonsense": 1})
    _refused(DimensionMismatchError, build, case.blocks, dim=25)
    _refused(InvalidArgumentError, build, case.blocks, metric="cosine")
    _refused(InvalidArgumentError, build, [repeated])
    _refused(InvalidArgumentError, build, [negative])
    for spec in kind.specs:
        _refused(InvalidArgumentError, build, case.blocks, parameters={spec.name: object()})
        if spec.when == "build":
            frozen = {spec.name: spec.default}
            _refused(InvalidArgumentError, search, query, 3, parameters=frozen)


def check_concurrent_searches_agree(kind: IndexClass) -> None:
    """Threads that search one index with different masks do not disturb each other."""
    case = _case("l2")
    index = _built(kind, case)
    masks = [_subset(case, share) if kind.supports_filter else None for share in (0.05, 0.3, 1)]
    jobs = [
        partial(index.search, case.queries[:n], _K, allowed=mask, parameters=way)
        for mask, n, way in product(masks, (1, 50), _ways(kind))
    ]
    alone = [job() for job in jobs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda job: job(), jobs * 3))
    for (scores, row_ids), (wanted, wanted_ids) in zip(together, alone * 3, strict=True):
        np.testing.assert_allclose(scores, wanted, rtol=1e-5, atol=1e-4)
        assert np.mean(row_ids == wanted_ids) > 0.98


def check_damaged_files_are_refused(kind: IndexClass) -> None:
    """Cut, flipped, foreign, empty: CorruptFileError, from memory and from disk alike."""
    data = _built(kind, _case("ip", n=300)).to_bytes()
    rng = np.random.default_rng(5)
    damaged = [
        b"",
        b"short",
        bytes(4096),
        data[:-1],
        data[1:],
        data + b"\0",
        data[: len(data) // 2],
    ]
    header_start = read_header(data).payload_bytes
    places = rng.integers(header_start, size=20).tolist() + list(range(header_start, len(data), 7))
    for place in (0, 4, 40, *places):
        flipped = bytearray(data)
        flipped[place] ^= 1 << int(rng.integers(8))
        damaged.append(bytes(flipped))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index"
        for wreck in damaged:
            path.write_bytes(wreck)
            _refused(CorruptFileError, kind.from_bytes, wreck)
            _refused(CorruptFileError, kind.read, path)


def check_a_header_that_lies_is_refused(kind: IndexClass) -> None:
    """Find out, after parsing, a well-formed header over another payload."""
    data = _built(kind, _case("ip", n=300)).to_bytes()
    header = read_header(data)
    payload = data[: header.payload_bytes]
    size, checksum = measure(b"not an index at all")
    lies = [
        payload + seal(replace(header, dim=23)),
        payload + seal(replace(header, metric="l2")),
        payload + seal(replace(header, metric="cosine")),
        payload + seal(replace(header, rows=299)),
        payload + seal(replace(header, kind="another")),
        payload + seal(replace(header, parameters={"nonsense": 1})),
        b"not an index at all" + seal(replace(header, payload_bytes=size, checksum=checksum)),
    ]
    for lie in lies:
        _refused(CorruptFileError, kind.from_bytes, lie)


INDEX_CHECKS: tuple[IndexCheck, ...] = (
    check_scores_are_those_of_brute_force,
    check_recall,
    check_masks_are_honoured,
    check_empty_masks_find_nothing,
    check_missing_places_are_padded,
    check_single_query_equals_batch,
    check_keep_masks_and_float16_blocks,
    check_progress_can_cancel,
    check_round_trip,
    check_an_empty_index_finds_nothing,
    check_bad_arguments_are_refused,
    check_concurrent_searches_agree,
    check_damaged_files_are_refused,
    check_a_header_that_lies_is_refused,
)
"""Every check, in order."""
