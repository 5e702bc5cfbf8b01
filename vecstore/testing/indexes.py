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
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np

from vecstore.errors import (
    CorruptFileError,
    DimensionMismatchError,
    InvalidArgumentError,
    NonFiniteError,
    UnsupportedOperationError,
)
from vecstore.indexes.blocks import Block
from vecstore.indexes.files import measure, read_header, seal
from vecstore.indexes.originals import Originals
from vecstore.rows import RowSet
from vecstore.testing.index_cases import (
    METRICS,
    RECALL,
    IndexClass,
    K,
    built,
    found_by,
    make_case,
    refused,
    subset,
    ways,
)

__all__ = ["INDEX_CHECKS", "IndexCheck"]

IndexCheck = Callable[[IndexClass], None]


def check_scores_are_those_of_brute_force(kind: IndexClass) -> None:
    """Scores match float64 brute force, descend, and belong to the ids beside them."""
    for metric in METRICS:
        case = make_case(metric)
        scores, row_ids = found_by(built(kind, case), case, 50)
        assert scores.dtype == np.float32
        assert row_ids.dtype == np.int64
        assert scores.shape == row_ids.shape == (len(case.queries), K)
        assert (np.diff(scores, axis=1) <= 0).all(), "scores must descend"
        np.testing.assert_allclose(scores, case.score_of(row_ids), rtol=1e-4, atol=1e-4)


def check_candidates_alone_descend(kind: IndexClass) -> None:
    """Without the vectors, a compressed kind still descends, and honours masks."""
    case = make_case("ip")
    allowed = subset(case, 0.3)
    scores, row_ids = built(kind, case).search(case.queries, K, allowed=allowed)
    assert (np.diff(scores, axis=1) <= 0).all(), "scores must descend"
    assert allowed.contains(row_ids).all()


def check_recall(kind: IndexClass) -> None:
    """Exact kinds find the true rows, others at least 95 % of them; none twice."""
    for metric in METRICS:
        case = make_case(metric)
        _, row_ids = found_by(built(kind, case), case, 50)
        recall = case.recall(row_ids)
        assert recall >= (1.0 if kind.exact else RECALL), f"recall {recall} under {metric}"
        assert all(len(set(row)) == K for row in row_ids.tolist()), "a row was found twice"


def check_masks_are_honoured(kind: IndexClass) -> None:
    """No row outside the mask is found, and those inside are, at any selectivity."""
    for metric in METRICS:
        case = make_case(metric)
        index = built(kind, case)
        if not kind.supports_filter:
            everything = RowSet.of(case.row_ids)
            refused(UnsupportedOperationError, index.search, case.queries, K, allowed=everything)
            continue
        for share, way in product((0.01, 0.1, 0.5, 1.0), ways(kind)):
            allowed = subset(case, share)
            scores, row_ids = found_by(index, case, 50, allowed=allowed, parameters=way)
            assert (row_ids >= 0).all(), f"places left empty at {share}"
            assert allowed.contains(row_ids).all(), f"a row outside the mask at {share}"
            recall = case.recall(row_ids, allowed)
            assert recall >= (1.0 if kind.exact else RECALL), f"recall {recall} at {share}"
            np.testing.assert_allclose(scores, case.score_of(row_ids), rtol=1e-4, atol=1e-4)


def check_few_survivors_are_found_exactly(kind: IndexClass) -> None:
    """Scan what a filter leaves where that is little, for one query and for a batch."""
    for metric, n in product(METRICS, (1, 50)):
        case = make_case(metric)
        index = built(kind, case)
        allowed = subset(case, 0.01)
        if kind.supports_filter:
            _, row_ids = found_by(index, case, n, allowed=allowed)
            best = replace(case, queries=case.queries[:n], scores=case.scores[:n])
            assert best.recall(row_ids, allowed) == 1.0


def check_empty_masks_find_nothing(kind: IndexClass) -> None:
    """Give missing places, not an error, for a mask that is empty or of strangers only."""
    if not kind.supports_filter:
        return
    case = make_case("ip")
    index = built(kind, case)
    for allowed in (RowSet.of([]), RowSet.of([3]), RowSet.of([9_000_000])):
        scores, row_ids = found_by(index, case, 50, 3, allowed=allowed)
        assert (row_ids == -1).all()
        assert np.isneginf(scores).all()


def check_missing_places_are_padded(kind: IndexClass) -> None:
    """With k beyond the rows (or the allowed ones) the rest is -1 and minus infinity."""
    for metric in METRICS:
        case = make_case(metric, n=300)
        index = built(kind, case)
        scores, row_ids = found_by(index, case, 3, 320)
        assert (row_ids[:, 300:] == -1).all()
        assert np.isneginf(scores[:, 300:]).all()
        found = (row_ids >= 0).mean(axis=1) * 320 / 300
        assert (found >= (1.0 if kind.exact else RECALL)).all(), f"found {found}"
        assert (np.isneginf(scores) == (row_ids == -1)).all()
        if kind.supports_filter:
            four = RowSet.of(case.row_ids[[3, 50, 200, 299]])
            _, row_ids = found_by(index, case, 3, 6, allowed=four)
            assert (np.sort(row_ids, axis=1)[:, 2:] == case.row_ids[[3, 50, 200, 299]]).all()
            assert (row_ids[:, 4:] == -1).all()


def check_single_query_equals_batch(kind: IndexClass) -> None:
    """Answer a query alone as in a batch."""
    for metric in METRICS:
        case = make_case(metric)
        index = built(kind, case)
        originals = case.originals
        scores, row_ids = index.search(case.queries, K, originals=originals)
        for row in range(10):
            one = case.queries[row : row + 1]
            alone, alone_ids = index.search(one, K, originals=originals)
            np.testing.assert_allclose(alone[0], scores[row], rtol=1e-5, atol=1e-4)
            assert np.mean(alone_ids[0] == row_ids[row]) >= 0.8


def check_keep_masks_and_float16_blocks(kind: IndexClass) -> None:
    """Rows left out by a block's mask are not in the index; float16 rows are widened."""
    case = make_case("ip")
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
    scores, row_ids = index.search(case.queries, K, originals=Originals([half]))
    assert np.isin(row_ids, kept).all()
    np.testing.assert_allclose(scores, case.score_of(row_ids), atol=2e-3)


def check_progress_can_cancel(kind: IndexClass) -> None:
    """End the build with what the progress callback raises."""

    def cancel(done: int, total: int) -> None:
        raise KeyboardInterrupt

    case = make_case("ip", n=300)
    try:
        kind.build(case.blocks, dim=24, metric="ip", progress=cancel)
    except KeyboardInterrupt:
        return
    raise AssertionError("the build went on")


def check_round_trip(kind: IndexClass) -> None:
    """Through bytes and through a file, an index answers bit for bit the same."""
    for metric in METRICS:
        case = make_case(metric)
        index = built(kind, case)
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
                    before = found_by(index, case, n)
                    after = found_by(copy, case, n)
                    assert np.array_equal(before[1], after[1])
                    assert np.array_equal(before[0], after[0])


def check_search_parameters_can_be_tuned(kind: IndexClass) -> None:
    """Other defaults for a search are kept by the file; build parameters stay as they are."""
    case = make_case("ip", n=300)
    index = built(kind, case)
    for spec in kind.specs:
        if spec.when == "build":
            refused(InvalidArgumentError, index.tuned, {spec.name: spec.default})
            continue
        value = spec.choices[-1] if spec.choices else spec.default
        if isinstance(value, int):
            value = int(spec.minimum or 0) + 2
        copy = kind.from_bytes(index.tuned({spec.name: value}).to_bytes())
        assert dict(copy.parameters) == {**index.parameters, spec.name: value}
        scores, row_ids = found_by(copy, case, 5)
        np.testing.assert_allclose(scores, case.score_of(row_ids), rtol=1e-4, atol=1e-4)
    assert dict(index.tuned({}).parameters) == dict(index.parameters)


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
    case = make_case("ip", n=300)
    index = built(kind, case)
    query = case.queries[:1]
    broken = query.copy()
    broken[0, 5] = np.nan
    repeated = Block(row_ids=np.array([4, 4]), vectors=case.vectors[:2])
    negative = Block(row_ids=np.array([-4, 4]), vectors=case.vectors[:2])
    search, build = index.search, partial(kind.build, dim=24, metric="ip")
    refused(DimensionMismatchError, search, query[:, :-1], K)
    refused(NonFiniteError, search, broken, K)
    refused(InvalidArgumentError, search, query, 0)
    refused(InvalidArgumentError, search, query, 3, parameters={"nonsense": 1})
    refused(DimensionMismatchError, build, case.blocks, dim=25)
    refused(InvalidArgumentError, build, case.blocks, metric="cosine")
    refused(InvalidArgumentError, build, [repeated])
    refused(InvalidArgumentError, build, [negative])
    for spec in kind.specs:
        refused(InvalidArgumentError, build, case.blocks, parameters={spec.name: object()})
        if spec.when == "build":
            frozen = {spec.name: spec.default}
            refused(InvalidArgumentError, search, query, 3, parameters=frozen)


def check_concurrent_searches_agree(kind: IndexClass) -> None:
    """Threads that search one index with different masks do not disturb each other."""
    case = make_case("l2")
    index = built(kind, case)
    masks = [subset(case, share) if kind.supports_filter else None for share in (0.05, 0.3, 1)]
    jobs = [
        partial(found_by, index, case, n, allowed=mask, parameters=way)
        for mask, n, way in product(masks, (1, 50), ways(kind))
    ]
    alone = [job() for job in jobs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda job: job(), jobs * 3))
    for (scores, row_ids), (wanted, wanted_ids) in zip(together, alone * 3, strict=True):
        np.testing.assert_allclose(scores, wanted, rtol=1e-5, atol=1e-4)
        assert np.mean(row_ids == wanted_ids) > 0.98


def check_damaged_files_are_refused(kind: IndexClass) -> None:
    """Cut, flipped, foreign, empty: CorruptFileError, from memory and from disk alike."""
    data = built(kind, make_case("ip", n=300)).to_bytes()
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
            refused(CorruptFileError, kind.from_bytes, wreck)
            refused(CorruptFileError, kind.read, path)


def check_a_header_that_lies_is_refused(kind: IndexClass) -> None:
    """Find out, after parsing, a well-formed header over another payload."""
    data = built(kind, make_case("ip", n=300)).to_bytes()
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
        refused(CorruptFileError, kind.from_bytes, lie)


INDEX_CHECKS: tuple[IndexCheck, ...] = (
    check_scores_are_those_of_brute_force,
    check_candidates_alone_descend,
    check_recall,
    check_masks_are_honoured,
    check_few_survivors_are_found_exactly,
    check_empty_masks_find_nothing,
    check_missing_places_are_padded,
    check_single_query_equals_batch,
    check_keep_masks_and_float16_blocks,
    check_progress_can_cancel,
    check_round_trip,
    check_search_parameters_can_be_tuned,
    check_an_empty_index_finds_nothing,
    check_bad_arguments_are_refused,
    check_concurrent_searches_agree,
    check_damaged_files_are_refused,
    check_a_header_that_lies_is_refused,
)
"""Every check, in order."""
