"""What an index is made of, as values: its plan, and the body that a kind puts under it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar, final

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import InvalidArgumentError
from vecstore.indexes.blocks import Block, BlockMetric
from vecstore.indexes.parameters import ParameterValue

__all__ = ["Answer", "BodyT", "IndexBody", "IndexPlan", "Progress", "count_distinct"]

Answer = tuple[NDArray[np.float32], NDArray[np.int64]]
Progress = Callable[[int, int], None]
"""Called with (rows done, rows in all) during a build; an exception from it cancels."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class IndexPlan:
    """What an index is, or is to be: dimension, metric, rows and every parameter."""

    dim: int
    metric: BlockMetric
    rows: int
    parameters: Mapping[str, ParameterValue]


class IndexBody(Protocol):
    """The library's object inside an index."""

    @property
    def row_ids(self) -> NDArray[np.int64]:
        """The ids inside, in any order."""

    def to_bytes(self) -> bytes:
        """Serialise."""

    def write(self, path: Path) -> None:
        """Serialise to a file."""


BodyT = TypeVar("BodyT", bound=IndexBody)


def count_distinct(blocks: Sequence[Block]) -> int:
    """Count the kept rows, refusing ids that repeat or are negative."""
    parts = [block.row_ids if block.keep is None else block.row_ids[block.keep] for block in blocks]
    row_ids = np.sort(np.concatenate([np.empty(0, np.int64), *parts]))
    if len(row_ids) and row_ids[0] < 0:
        raise InvalidArgumentError(f"row ids must not be negative, got {row_ids[0]}")
    repeats = np.flatnonzero(row_ids[1:] == row_ids[:-1])
    if len(repeats):
        raise InvalidArgumentError(
            f"row id {row_ids[repeats[0]]} occurs more than once; an index holds each row once"
        )
    return len(row_ids)
