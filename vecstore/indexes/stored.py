"""StoredIndex: how an index is built from blocks, and how it is kept as a file.

An index is built once and never changes; what it names are row ids, never positions. Arguments
are checked here, so that a kind's own file is only what is particular to it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Generic, Self, final

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import CorruptFileError, InvalidArgumentError, StorageError
from vecstore.indexes.blocks import Block, BlockMetric, block_dim
from vecstore.indexes.files import IndexHeader, measure, read_header, seal, verify
from vecstore.indexes.parameters import ParameterSpec, ParameterValue, resolve_parameters
from vecstore.indexes.plans import BodyT, IndexPlan, Progress, count_distinct

__all__ = ["StoredIndex"]


class StoredIndex(ABC, Generic[BodyT]):
    """An immutable structure over rows: a plan that says what it is, and a library's body.

    Made by :meth:`build`, :meth:`read` or :meth:`from_bytes`.

    Attributes
    ----------
    kind : str
        Its name in the registry.
    specs : tuple of ParameterSpec
        Its parameters.
    """

    kind: ClassVar[str]
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

    @classmethod
    def _settle(
        cls, parameters: Mapping[str, ParameterValue], rows: int, dim: int
    ) -> Mapping[str, ParameterValue]:
        """Return parameters with those that mean "automatic" decided for this size."""
        return parameters

    @classmethod
    @abstractmethod
    def _build(cls, blocks: Sequence[Block], plan: IndexPlan, progress: Progress) -> BodyT:
        """Build the body; arguments are checked."""

    @classmethod
    @abstractmethod
    def _open(cls, source: Path | bytes, payload_bytes: int, plan: IndexPlan) -> BodyT:
        """Open the payload and check that it is what the plan says."""


def _silent(done: int, total: int) -> None:
    """Report progress to nobody."""
