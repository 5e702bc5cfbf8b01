"""Inverted lists: the coarse partition that the ivf kinds share, its training and its search.

How many lists there are, how their centres are trained (a step at a time, so that a build can
be cancelled), and how many of them a search visits, under a filter too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.indexes.base import Answer, IndexPlan, Progress
from vecstore.indexes.exact import BATCH
from vecstore.indexes.faiss_body import FaissBody, MakeParameters, faiss_metric
from vecstore.indexes.faiss_gpu import LEAST_SHARE, Gpu, find_gpu, lengthened
from vecstore.indexes.faiss_library import load_faiss
from vecstore.indexes.filtered import widened
from vecstore.indexes.parameters import ParameterSpec, ParameterValue
from vecstore.indexes.topk import MISSING, merge_top_k
from vecstore.rows import RowSet

__all__ = [
    "LIST_SPECS",
    "REFINE_SPEC",
    "TRAINING_ROWS",
    "first_nprobe",
    "plain_parameters",
    "scan_beats_lists",
    "search_lists",
    "settle_lists",
    "trained_quantizer",
    "widened_nprobe",
]

SEED = 1234
# Rows per centre that training looks at, and its rounds; FAISS's own 256 and 25 take eight times
# as long for the same recall (measured: 100,000 x 384).
_ROWS_PER_LIST = 64
_ROUNDS = 10
# With fewer rows than this for each list, lists are merged: their centres would be noise.
_LEAST_ROWS_PER_LIST = 8
MAX_LISTS = 65_536
TRAINING_ROWS = 65_536
_ROWS_PER_PREPARATION = 16
# Lists at once, over those that hold as many eligible rows as are wanted on average.
_SPARE = 2

LIST_SPECS = (
    ParameterSpec(
        name="nlist",
        default=0,
        when="build",
        minimum=0,
        maximum=MAX_LISTS,
        summary="Lists the rows are parted into: 0 chooses by their number.",
    ),
    ParameterSpec(
        name="nprobe",
        default=0,
        when="search",
        minimum=0,
        maximum=MAX_LISTS,
        summary="Lists looked at per query; more is more accurate and slower; 0 chooses.",
    ),
    ParameterSpec(
        name="filter_nprobe",
        default=0,
        when="search",
        minimum=0,
        maximum=MAX_LISTS,
        summary="The same where a filter is, before it is widened by its share; 0: as without.",
    ),
)

REFINE_SPEC = ParameterSpec(
    name="refine_factor",
    default=10,
    when="search",
    minimum=1,
    maximum=10_000,
    summary="Candidates ranked by their own vectors, as a multiple of k.",
)


def settle_lists(parameters: Mapping[str, ParameterValue], rows: int) -> dict[str, ParameterValue]:
    """Decide nlist and nprobe for a number of rows.

    By default 2 sqrt(n) lists, of which 4 sqrt(nlist) are looked at. Too few rows for the lists
    that were asked for give fewer lists, of 8 rows each.

    Examples
    --------
    >>> settle_lists({"nlist": 0, "nprobe": 0}, 100_000)
    {'nlist': 632, 'nprobe': 101}
    >>> settle_lists({"nlist": 632, "nprobe": 5}, 80)
    {'nlist': 10, 'nprobe': 5}
    """
    asked = int(parameters["nlist"]) or round(2 * math.sqrt(rows))
    nlist = max(1, min(asked, rows // _LEAST_ROWS_PER_LIST, MAX_LISTS))
    nprobe = int(parameters["nprobe"]) or math.ceil(4 * math.sqrt(nlist))
    return {**parameters, "nlist": nlist, "nprobe": min(nprobe, nlist)}


def training_rows(nlist: int) -> int:
    """Return how many rows the training of the centres looks at."""
    return _ROWS_PER_LIST * nlist


def trained_quantizer(sample: NDArray[np.float32], plan: IndexPlan, progress: Progress) -> Any:
    """Return a flat FAISS index over trained centres: k-means, spherical under "ip".

    Parameters
    ----------
    sample : ndarray of shape (m, d), float32
        m = 0 gives an untrained one, for an index of no rows.
    progress : callable
        Called with nothing done before every round, so that it can cancel.
    """
    faiss = load_faiss()
    quantizer = faiss.IndexFlat(sample.shape[1], faiss_metric(faiss, plan))
    if not len(sample):
        return quantizer
    nlist = int(plan.parameters["nlist"])
    clustering = faiss.Clustering(sample.shape[1], nlist)
    clustering.niter = 1
    clustering.seed = SEED
    clustering.spherical = plan.metric == "ip"
    clustering.min_points_per_centroid = 1
    clustering.max_points_per_centroid = len(sample)
    for _ in range(_ROUNDS):  # each goes on from the centres of the one before
        progress(0, plan.rows)
        clustering.train(sample, quantizer)
    return quantizer


def plain_parameters(faiss: Any, nprobe: int, chosen: Any) -> Any:
    """Return FAISS's parameters of a search of inverted lists."""
    return faiss.SearchParametersIVF(nprobe=nprobe, sel=chosen)


def search_lists(
    body: FaissBody,
    queries: NDArray[np.float32],
    k: int,
    allowed: RowSet | None,
    *,
    eligible: int,
    total: int,
    settings: Mapping[str, ParameterValue],
    search_parameters: MakeParameters = plain_parameters,
    coded: bool = True,
    device: str | None = None,
) -> Answer:
    """Search an IVF index; where the lists looked at hold too few rows, look at more.

    Parameters
    ----------
    search_parameters : callable, optional
        As :meth:`FaissBody.parameters` calls it, with nprobe; by default ``SearchParametersIVF``.
    coded : bool
        Whether rows are codes, for which every list has to be prepared.
    device : str, optional
        Where to search, for kinds that FAISS has on GPUs.
    """
    nlist = int(settings["nlist"])
    nprobe = first_nprobe(settings, filtered=eligible < total)
    nprobe = widened_nprobe(nprobe, nlist, eligible=eligible, total=total, coded=coded)
    # Lists that are likely to hold too few rows need not be tried.
    nprobe = min(nlist, max(nprobe, math.ceil(_SPARE * k * nlist / eligible)))
    gpu = None if device is None else find_gpu(device)
    found = None
    if gpu is not None and eligible >= LEAST_SHARE * total:
        width = lengthened(k, eligible=eligible, total=total)
        found = _proposed(body, gpu, queries, k, allowed, width=width, nprobe=nprobe)
    # A GPU may have had too few candidates for a mask, though it looked at every list.
    again = found is not None
    scores, row_ids = found or body.search(
        queries, k, body.parameters(search_parameters, nprobe, allowed)
    )
    short = np.flatnonzero(row_ids[:, -1] < 0)  # what is missing comes last
    while len(short) and (nprobe < nlist or again):
        again = False
        nprobe = min(nlist, 4 * nprobe)
        parameters = body.parameters(search_parameters, nprobe, allowed)
        scores[short], row_ids[short] = body.search(queries[short], k, parameters)
        short = short[row_ids[short, -1] < 0]
    return scores, row_ids


def _proposed(
    body: FaissBody,
    gpu: Gpu,
    queries: NDArray[np.float32],
    k: int,
    allowed: RowSet | None,
    *,
    width: int,
    nprobe: int,
) -> Answer | None:
    """Return k of ``width`` candidates of a GPU, those that a mask leaves; None for the CPU."""
    found = body.propose(gpu, queries, width, plain_parameters(load_faiss(), nprobe, None))
    if found is None or allowed is None:
        return found
    scores, row_ids = found
    out = ~allowed.contains(row_ids)
    scores[out], row_ids[out] = -np.inf, MISSING
    return merge_top_k(scores, row_ids, k)


def first_nprobe(settings: Mapping[str, ParameterValue], *, filtered: bool) -> int:
    """Return how many lists a search looks at, before a filter's share widens it."""
    own = int(settings["filter_nprobe"]) if filtered else 0
    return own or int(settings["nprobe"])


def widened_nprobe(
    nprobe: int, nlist: int, *, eligible: int, total: int, coded: bool = False
) -> int:
    """Return the number of lists a filtered search must look at.

    As :func:`~vecstore.indexes.filtered.widened` says. Rows left out by the filter cost a bit
    test and no distance. So, of lists of vectors, every one is looked at when all eligible
    rows are no more than the rows an unfiltered search measures: exact for about the same
    price. Not so of coded lists, each of which costs its preparation.

    Examples
    --------
    >>> widened_nprobe(10, 1000, eligible=1_000_000, total=1_000_000)
    10
    >>> widened_nprobe(10, 1000, eligible=100_000, total=1_000_000)
    18
    >>> widened_nprobe(10, 1000, eligible=10_000, total=1_000_000)
    1000
    """
    nprobe = min(nprobe, nlist)
    if eligible * nlist <= total * nprobe and not coded:
        return nlist
    return min(nlist, widened(nprobe, eligible=eligible, total=total))


def scan_beats_lists(
    eligible: int, settings: Mapping[str, ParameterValue], *, n_queries: int
) -> bool:
    """Return whether all rows that a filter leaves are ranked sooner than coded lists are read.

    To prepare a list takes as long as to score sixteen rows exactly; by matrix products, in a
    batch, eight times as many (measured: 100,000 x 384).
    """
    rows_per_list = _ROWS_PER_PREPARATION * (1 if n_queries < BATCH else 8)
    return eligible <= rows_per_list * first_nprobe(settings, filtered=True)
