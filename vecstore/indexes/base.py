"""Index: the interface that every acceleration structure keeps.

An index is built once from blocks and never changes; what it names are row ids, never
positions. Arguments are checked here, so that a kind's own file is only what is particular
to it. Capabilities are declared as class attributes and refused by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Generic, Self, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore.errors import (
    CorruptFileError,
    InvalidArgumentError,
    StorageError,
    UnsupportedOperationError,
)
from vecstore.indexes.blocks import Block, BlockMetric, block_dim
from vecstore.indexes.exact import checked_k, checked_queries
from vecstore.indexes.files import IndexHeader, measure, read_header, seal, verify
from vecstore.indexes.filtered import FEW_ROWS, SCORE_ALL, widened
from vecstore.indexes.originals import Originals
from vecstore.indexes.parameters import ParameterSpec, ParameterValue, resolve_parameters
from vecstore.indexes.plans import (
    Answer,
    BodyT,
    IndexBody,
    IndexPlan,
    Progress,
    count_distinct,
)
from vecstore.indexes.topk import MISSING, merge_top_k
from vecstore.rows import RowSet

__all__ = ["Answer", "Index", "IndexBody", "IndexPlan", "Progress"]


class Index(ABC, Generic[BodyT]):
    """An immutable structure that finds near rows.

    Made by :meth:`build`, :meth:`read` or :meth:`from_bytes`. Searching is thread-safe.

    Attributes
    ----------
    kind : str
        Its name in the registry.
    exact : bool
        Whether it always returns the true nearest rows.
    exact_scores : bool
        Whether it holds the vectors it was built from, so that its scores are theirs. Other
        kinds find candidates by compressed codes, and give the vectors' scores where
        ``search`` is handed the :class:`Originals`.
    supports_filter : bool
        Whether ``allowed`` is honoured inside the search.
    specs : tuple of ParameterSpec
        Its parameters.
    """

    kind: ClassVar[str]
    exact: ClassVar[bool]
    exact_scores: ClassVar[bool]
    supports_filter: ClassVar[bool]
    specs: ClassVar[tuple[ParameterSpec, ...]]

    @final
    def __init__(self, plan: IndexPlan, body: BodyT) -> None:
        self._plan = plan
        self._body = body

    @final
    @classmethod
    def build(
        cls,
        blocks: Sequence[Block],
        *,
        dim: int,
        metric: BlockMetric,
        parameters: Mapping[str, ParameterValue] | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Build an index over the kept rows of the blocks.

        Parameters
        ----------
        blocks : sequence of Block
            A row id may occur once.
        dim : int
        metric : {"ip", "l2"}
            For cosine, "ip" over unit vectors.
        parameters : mapping, optional
            Of :attr:`specs`, build and search parameters alike; the rest are defaults.
        progress : callable, optional
            Called with (rows done, rows in all); what it raises cancels the build.

        Raises
        ------
        InvalidArgumentError
            A parameter or the metric is outside its domain; row ids repeat or are negative.
        InvalidVectorsError
            The blocks do not have ``dim`` dimensions.
        MissingDependencyError
            The kind's library is not installed.
        """
        if metric not in ("ip", "l2"):
            raise InvalidArgumentError(f"metric must be 'ip' or 'l2', got {metric!r}")
        if dim < 1:
            raise InvalidArgumentError(f"dim must be at least 1, got {dim}")
        block_dim(blocks, dim)
        owner = f"index kind {cls.kind!r}"
        rows = count_distinct(blocks)
        plan = IndexPlan(
            dim=dim,
            metric=metric,
            rows=rows,
            parameters=MappingProxyType(
                cls._settle(resolve_parameters(cls.specs, parameters or {}, owner=owner), rows, dim)
            ),
        )
        return cls(plan, cls._build(blocks, plan, progress or _silent))

    @final
    def search(
        self,
        queries: ArrayLike,
        k: int,
        *,
        allowed: RowSet | None = None,
        parameters: Mapping[str, ParameterValue] | None = None,
        originals: Originals | None = None,
    ) -> Answer:
        """Return each query's k best rows.

        Parameters
        ----------
        queries : array_like of shape (nq, d)
            Converted to float32.
        k : int
        allowed : RowSet, optional
            Only these rows are found; applied inside the search, not to its result.
        parameters : mapping, optional
            Search parameters that override the index's own, for this search.
        originals : Originals, optional
            The vectors of the rows, by which kinds without :attr:`exact_scores` rank
            ``refine_factor`` times k candidates, or, where a filter leaves few rows, all of
            them. Without, their scores are approximate.

        Returns
        -------
        scores : ndarray of shape (nq, k), float32
            Descending; larger is better; under "l2", minus the squared distance.
        row_ids : ndarray of shape (nq, k), int64
            Ties by ascending row id among those found. Places that no row fills are -1 with
            score minus infinity.

        Raises
        ------
        InvalidArgumentError
            ``k`` or a parameter is outside its domain.
        InvalidVectorsError
            Queries of another dimension, or not finite.
        UnsupportedOperationError
            ``allowed`` was given to a kind without :attr:`supports_filter`.
        """
        k = checked_k(k)
        rows = checked_queries(queries, self.dim)
        if allowed is not None and not self.supports_filter:
            raise UnsupportedOperationError(
                f"index kind {self.kind!r} has no filtered search (supports_filter is False); "
                "search exactly, or build another kind"
            )
        settings = self._tuned(parameters) if parameters else self.parameters
        members = None if allowed is None else allowed & self._members
        eligible = len(self) if members is None else len(members)
        if eligible == 0 or len(rows) == 0:
            empty = (len(rows), k)
            return np.full(empty, -np.inf, np.float32), np.full(empty, MISSING, np.int64)
        # Only under a filter: an unfiltered search takes one way, alone as in the batches by which
        # it is tuned.
        filtered = eligible < len(self)
        if filtered and originals is not None and eligible <= FEW_ROWS:
            return self._exactly(rows, k, members, originals)
        places = min(k, eligible)
        if self.exact_scores or originals is None:
            return merge_top_k(*self._search(rows, places, allowed, eligible, settings), k)
        depth = places * int(settings["refine_factor"])
        if filtered:
            depth = widened(depth, eligible=eligible, total=len(self))
        depth = min(depth, eligible)
        limit = self._scan_limit(len(rows), settings) if filtered else 0
        if eligible <= max(SCORE_ALL * depth, limit):
            return self._exactly(rows, k, members, originals)
        _, row_ids = self._search(rows, depth, allowed, eligible, settings)
        scores = originals.scores(rows, row_ids, self.metric)
        row_ids[np.isneginf(scores)] = MISSING
        return merge_top_k(scores, row_ids, k)

    @final
    def tuned(self, parameters: Mapping[str, ParameterValue]) -> Self:
        """Return this index with other defaults for its search parameters.

        Raises
        ------
        InvalidArgumentError
            A parameter is not one of a search, or outside its domain.
        """
        return type(self)(
            replace(self._plan, parameters=MappingProxyType(self._tuned(parameters))), self._body
        )

    @property
    def dim(self) -> int:
        """Number of dimensions."""
        return self._plan.dim

    @property
    def metric(self) -> BlockMetric:
        """The score it ranks by, "ip" or "l2"."""
        return self._plan.metric

    @property
    def parameters(self) -> Mapping[str, ParameterValue]:
        """Every parameter's value; for search parameters, the default of this index."""
        return self._plan.parameters

    @cached_property
    def row_ids(self) -> NDArray[np.int64]:
        """The ids it covers, ndarray of shape (len(self),), int64, ascending."""
        row_ids = np.sort(self._body.row_ids)
        row_ids.flags.writeable = False
        return row_ids

    def __len__(self) -> int:
        return self._plan.rows

    def __repr__(self) -> str:
        return f"<{self.kind} index of {len(self)} rows, {self.dim} dimensions, {self.metric}>"

    @final
    def to_bytes(self) -> bytes:
        """Return the index file as bytes."""
        payload = self._body.to_bytes()
        return payload + seal(self._header(*measure(payload)))

    @final
    def write(self, path: Path) -> None:
        """Write the index file, without renaming or syncing: that is the caller's protocol.

        Raises
        ------
        StorageError
            The file cannot be written.
        """
        try:
            self._body.write(path)
            header = self._header(*measure(path))
            with path.open("ab") as file:
                file.write(seal(header))
        except OSError as error:
            raise StorageError(f"cannot write index file {path}: {error}") from error

    @final
    @classmethod
    def read(cls, path: Path, *, check: bool = True) -> Self:
        """Open an index file, memory-mapped where the kind's library can.

        Parameters
        ----------
        path : Path
        check : bool, default True
            Verify the checksum, which reads the whole file. Switch it off only for a file
            that the caller has verified: FAISS's parser may crash on damaged bytes.

        Raises
        ------
        CorruptFileError
            Damaged, cut short, of another kind, or not an index file.
        StorageError
            The file cannot be read.
        """
        return cls._open_checked(path, check)

    @final
    @classmethod
    def from_bytes(cls, data: bytes, *, check: bool = True) -> Self:
        """Open what :meth:`to_bytes` returned; see :meth:`read`."""
        return cls._open_checked(data, check)

    @final
    @classmethod
    def _open_checked(cls, source: Path | bytes, check: bool) -> Self:
        """Verify everything that can be before the library parses a byte."""
        header = read_header(source)
        if header.kind != cls.kind:
            raise CorruptFileError(
                f"expected an index of kind {cls.kind!r}, got {header.kind!r}; "
                "open it with vecstore.indexes.registry.read_index"
            )
        if header.metric not in ("ip", "l2"):
            raise CorruptFileError(f"index has unknown metric {header.metric!r}; build it again")
        if check:
            verify(source, header)
        try:
            settings = resolve_parameters(
                cls.specs, header.parameters, owner=f"index kind {cls.kind!r}"
            )
        except InvalidArgumentError as error:
            raise CorruptFileError(f"unusable index, build it again: {error}") from error
        plan = IndexPlan(
            dim=header.dim,
            metric="ip" if header.metric == "ip" else "l2",
            rows=header.rows,
            parameters=MappingProxyType(settings),
        )
        return cls(plan, cls._open(source, header.payload_bytes, plan))

    def _exactly(
        self, rows: NDArray[np.float32], k: int, members: RowSet | None, originals: Originals
    ) -> Answer:
        """Rank all members, or all rows, by their own vectors."""
        chosen = self._members if members is None else members
        return merge_top_k(*originals.rank_all(rows, k, chosen, self.metric), k)

    def _header(self, payload_bytes: int, checksum: str) -> IndexHeader:
        """Describe a payload of this index."""
        return IndexHeader(
            kind=self.kind,
            metric=self.metric,
            dim=self.dim,
            rows=len(self),
            parameters=dict(self.parameters),
            payload_bytes=payload_bytes,
            checksum=checksum,
        )

    def _tuned(self, parameters: Mapping[str, ParameterValue]) -> dict[str, ParameterValue]:
        """Return all parameters, some search parameters replaced."""
        settings = dict(self.parameters)
        if parameters:
            tunable = tuple(spec for spec in self.specs if spec.when == "search")
            resolved = resolve_parameters(
                tunable, parameters, owner=f"a search of index kind {self.kind!r}"
            )
            settings.update({name: resolved[name] for name in parameters})
        return settings

    @cached_property
    def _members(self) -> RowSet:
        """The covered ids as a set, to count those that a filter leaves."""
        return RowSet.of(self._body.row_ids)

    @classmethod
    def _settle(
        cls, parameters: Mapping[str, ParameterValue], rows: int, dim: int
    ) -> Mapping[str, ParameterValue]:
        """Return parameters with those that mean "automatic" decided for this size."""
        return parameters

    def _scan_limit(self, n_queries: int, settings: Mapping[str, ParameterValue]) -> int:
        """Return how many rows are scored exactly in the time of a search; 0 if unknown."""
        return 0

    @classmethod
    @abstractmethod
    def _build(cls, blocks: Sequence[Block], plan: IndexPlan, progress: Progress) -> BodyT:
        """Build the body; arguments are checked."""

    @classmethod
    @abstractmethod
    def _open(cls, source: Path | bytes, payload_bytes: int, plan: IndexPlan) -> BodyT:
        """Open the payload and check that it is what the plan says."""

    @abstractmethod
    def _search(
        self,
        queries: NDArray[np.float32],
        k: int,
        allowed: RowSet | None,
        eligible: int,
        settings: Mapping[str, ParameterValue],
    ) -> Answer:
        """Search; arguments are checked, at least one row is eligible, k at most all."""


def _silent(done: int, total: int) -> None:
    """Report progress to nobody."""
