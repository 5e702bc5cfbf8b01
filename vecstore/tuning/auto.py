"""Building an index to a target: the first candidate that reaches the recall, or the best."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, final

from vecstore.errors import InvalidArgumentError
from vecstore.indexes.base import Index, Progress
from vecstore.indexes.blocks import Block, BlockMetric
from vecstore.indexes.parameters import ParameterValue
from vecstore.indexes.registry import get_index
from vecstore.tuning.candidates import Candidate, candidates
from vecstore.tuning.measure import Bench
from vecstore.tuning.questions import Questions
from vecstore_translators.evaluation import Interval

__all__ = ["AUTO", "Target", "Tuned", "checked_target", "require_no_parameters", "tuned_index"]

AUTO = "auto"
DEFAULT_RECALL = 0.95
K = 10


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What an index is to reach: recall at 10 against exact search, within some memory."""

    recall: float = DEFAULT_RECALL
    memory_limit: int | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tuned:
    """An index with its tuned parameters and what was measured of it.

    Attributes
    ----------
    report : dict
        JSON values: target, reached, recall (mean, low, high, confidence), k, queries, origin,
        speedup (single, batch; over exact search), seconds, memory_limit, tried, and chosen
        (whether the kind was).
    """

    index: Index[Any]
    report: Mapping[str, Any]


def checked_target(
    kind: str, recall: float | None, memory_limit: int | None, queries: object
) -> Target | None:
    """Return the target of a build, None where a kind is to be built as it is.

    Raises
    ------
    InvalidArgumentError
        A recall or a limit outside its domain; or an argument of tuning without tuning.
    """
    if kind != AUTO and recall is None:
        for name, value in (("memory_limit", memory_limit), ("queries", queries)):
            if value is not None:
                raise InvalidArgumentError(
                    f"{name}= is for tuning; pass kind='auto', or recall= to tune kind={kind!r}"
                )
        return None
    if recall is None:
        recall = DEFAULT_RECALL
    if isinstance(recall, bool) or not isinstance(recall, (int, float)) or not 0 < recall <= 1:
        raise InvalidArgumentError(f"expected 0 < recall <= 1, got {recall!r}")
    if memory_limit is not None and (
        isinstance(memory_limit, bool) or not isinstance(memory_limit, int) or memory_limit < 1
    ):
        raise InvalidArgumentError(
            f"expected memory_limit to be a number of bytes >= 1, got {memory_limit!r}"
        )
    return Target(recall=float(recall), memory_limit=memory_limit)


def require_no_parameters(parameters: Mapping[str, Any]) -> None:
    """Refuse parameters that "auto" is to choose."""
    if parameters:
        raise InvalidArgumentError(
            "kind='auto', the default, chooses the parameters; leave them out, or name a kind "
            "(with recall= it is tuned)"
        )


def tuned_index(
    kind: str,
    blocks: Sequence[Block],
    questions: Questions,
    target: Target,
    *,
    dim: int,
    metric: BlockMetric,
    parameters: Mapping[str, ParameterValue],
    progress: Progress,
) -> Tuned:
    """Build and tune until a candidate reaches the target; else return the best of them.

    Parameters
    ----------
    kind : str
        "auto" for all candidates that fit the memory; a kind's name for that one.

    Raises
    ------
    InvalidArgumentError
        Nothing fits the memory limit; or "auto" was given parameters.
    """
    rows = sum(block.kept for block in blocks)
    offered = _offered(kind, rows, dim, target, parameters)
    if len(questions) < 2:  # nothing to measure: a named kind over hardly any rows
        built = get_index(offered[0].kind).build(
            blocks, dim=dim, metric=metric, parameters=offered[0].parameters, progress=progress
        )
        return Tuned(index=built, report={})
    bench = Bench(blocks, questions, metric=metric, k=K)
    tried: list[dict[str, Any]] = []
    best: tuple[Interval, Index[Any], float] | None = None
    for candidate in offered:
        began = time.perf_counter()
        built = get_index(candidate.kind).build(
            blocks, dim=dim, metric=metric, parameters=candidate.parameters, progress=progress
        )
        seconds = time.perf_counter() - began
        built = bench.tuned(built, target.recall)
        progress(rows, rows)
        reached = bench.recall(built)
        tried.append({"kind": candidate.kind, "recall": reached.mean, "seconds": seconds})
        if best is None or reached.mean > best[0].mean:
            best = (reached, built, seconds)
        if reached.mean >= target.recall:
            break
    assert best is not None
    recall, index, seconds = best
    report = {
        "target": target.recall,
        "reached": recall.mean >= target.recall,
        "recall": asdict(recall),
        "k": K,
        "queries": len(questions),
        "origin": questions.origin,
        "speedup": bench.speedup(index),
        "seconds": seconds,
        "memory_limit": target.memory_limit,
        "tried": tried,
        "chosen": kind == AUTO,
    }
    return Tuned(index=index, report=report)


def _offered(
    kind: str,
    rows: int,
    dim: int,
    target: Target,
    parameters: Mapping[str, ParameterValue],
) -> list[Candidate]:
    """Return what is to be tried, in order."""
    if kind != AUTO:
        return [Candidate(kind=kind, parameters=parameters, memory=0)]
    require_no_parameters(parameters)
    fitting = candidates(rows, dim, target.memory_limit)
    if fitting:
        return fitting
    smallest = min(candidates(rows, dim, None), key=lambda candidate: candidate.memory)
    raise InvalidArgumentError(
        f"no index of {rows:,} rows x {dim} dimensions fits into {target.memory_limit:,} bytes; "
        f"the smallest, {smallest.kind}, takes about {smallest.memory:,}. Raise memory_limit, or "
        "search exactly: that needs no memory of its own"
    )
