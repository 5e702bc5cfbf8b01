"""Which indexes are worth trying for a collection's size and memory, best first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from vecstore.indexes.filtered import LISTS_FROM
from vecstore.indexes.lists import settle_lists
from vecstore.indexes.parameters import ParameterValue

__all__ = [
    "Candidate",
    "candidates",
    "filter_ladder_of",
    "ladder_of",
]

_EF = (
    *(10, 12, 14, 16, 18, 20, 24, 28, 32, 38, 44, 52, 62, 74, 88, 104, 124, 148, 176, 208, 248),
    *(296, 352, 420, 500, 600, 720, 860, 1024, 1440, 2048),
)
_REFINE = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 32, 40, 50, 64, 80, 100, 140, 200)
_SHARES = (*(2 ** (step / 4) / 256 for step in range(32)), 1)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A kind with its build parameters and what it takes.

    Attributes
    ----------
    kind : str
    parameters : mapping
    memory : int
        Estimated bytes.
    """

    kind: str
    parameters: Mapping[str, ParameterValue]
    memory: int


def candidates(rows: int, dim: int, memory_limit: int | None) -> list[Candidate]:
    """Return what fits, in the order in which it is tried.

    A graph is the fastest at equal recall wherever its float16 vectors fit, then lists of
    codes; scans of codes come last, whose time grows with the rows (docs/design/0012).
    """
    numbers = rows * dim
    lists = 4 * dim * int(settle_lists({"nlist": 0, "nprobe": 0}, rows)["nlist"])
    coded = numbers // 8 + 24 * rows + lists + 4 * dim**2
    compressed = [
        Candidate(kind="ivf_pq", parameters={}, memory=numbers // 4 + 8 * rows + lists),
        Candidate(kind="ivf_rabitq", parameters={}, memory=coded),
        Candidate(kind="sq", parameters={}, memory=numbers + 8 * rows),
        Candidate(kind="binary", parameters={}, memory=max(dim, 256) * (rows // 8 + 4 * dim)),
    ]
    beside = numbers // 8 + 8 * rows + lists  # codes of four bits for four dimensions
    graph_memory = 2 * numbers + 290 * rows + (beside if rows >= LISTS_FROM else 0)
    graph = Candidate(kind="hnsw", parameters={}, memory=graph_memory)
    offered = [graph, *compressed]
    return [
        candidate
        for candidate in offered
        if memory_limit is None or candidate.memory <= memory_limit
    ]


def ladder_of(
    kind: str, parameters: Mapping[str, ParameterValue]
) -> dict[str, tuple[ParameterValue, ...]]:
    """Return the search parameters that trade speed for recall, each from fast to accurate.

    Parameters
    ----------
    parameters : mapping
        Those of the built index: they bound what can be asked of it.
    """
    ladder: dict[str, tuple[ParameterValue, ...]] = {}
    if "refine_factor" in parameters:
        ladder["refine_factor"] = _REFINE
    if "ef_search" in parameters:
        ladder["ef_search"] = _EF
    if "nprobe" in parameters:
        nlist = int(parameters.get("nlist", 1024))
        ladder["nprobe"] = tuple(sorted({max(1, round(share * nlist)) for share in _SHARES}))
    return ladder


def filter_ladder_of(
    parameters: Mapping[str, ParameterValue], rows: int
) -> dict[str, tuple[ParameterValue, ...]]:
    """Return the parameters that only filtered searches use, in the same way.

    Parameters
    ----------
    rows : int
        Of the index.
    """
    if "filter_nprobe" not in parameters:
        return {}
    nlist = parameters.get("nlist") or settle_lists({"nlist": 0, "nprobe": 0}, rows)["nlist"]
    least = int(parameters.get("nprobe", 1))
    steps = {max(least, round(share * int(nlist))) for share in _SHARES}
    return {"filter_nprobe": tuple(sorted(steps))}
