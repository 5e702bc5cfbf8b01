"""gpu_flat: all vectors, scanned exactly on a device from a copy in half precision there."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Self, cast, final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vecstore.errors import CorruptFileError
from vecstore.gpu.device import DEVICE_PATTERN, resolve_device
from vecstore.gpu.exact import DeviceRows, Precision
from vecstore.indexes.base import Answer, Index, IndexPlan, Progress
from vecstore.indexes.blocks import Block, BlockMetric, tiles
from vecstore.indexes.parameters import ParameterSpec, ParameterValue
from vecstore.rows import RowSet
from vecstore.storage.vectors import VectorSegment, parse_vectors, put_vectors

__all__ = ["GpuFlatIndex"]

_BUILD_BYTES = 2**24
_METRIC = "vecstore.metric"


@final
class RowsBody:
    """Float32 rows on the host, and a copy on each device that is searched.

    The payload is a vector segment like the store's own, labelled with its metric.
    """

    def __init__(self, segment: VectorSegment, metric: BlockMetric) -> None:
        self._segment = segment
        self._metric = metric
        self._lock = threading.Lock()
        self._resident: dict[tuple[str, Precision], DeviceRows] = {}

    @classmethod
    def open(cls, source: Path | bytes, payload_bytes: int, plan: IndexPlan) -> Self:
        """Map a payload; raise CorruptFileError if it is not what the plan says."""
        content = (
            pa.py_buffer(source)
            if isinstance(source, bytes)
            else pa.memory_map(str(source)).read_buffer()
        )
        path = "these bytes" if isinstance(source, bytes) else str(source)
        segment, labels = parse_vectors(content[:payload_bytes], path=path, dim=plan.dim)
        found, wanted = (labels.get(_METRIC), len(segment)), (plan.metric, plan.rows)
        if found != wanted or segment.vectors.dtype != np.float32:
            raise CorruptFileError(
                f"{path}: expected float32 rows and (metric, rows) {wanted}, got "
                f"{segment.vectors.dtype} and {found}; delete the index and build it again"
            )
        return cls(segment, plan.metric)

    @property
    def row_ids(self) -> NDArray[np.int64]:
        """The ids inside."""
        return self._segment.row_ids

    def on(self, device: str, precision: Precision) -> DeviceRows:
        """Return the copy on a device, made when it is first asked for."""
        with self._lock:
            resident = self._resident.get((device, precision))
            if resident is None:
                resident = self._resident[device, precision] = DeviceRows(
                    self._segment.row_ids,
                    self._segment.vectors,
                    metric=self._metric,
                    device=device,
                    precision=precision,
                )
            return resident

    def to_bytes(self) -> bytes:
        """Serialise."""
        sink = pa.BufferOutputStream()
        self._put(sink)
        return bytes(sink.getvalue())

    def write(self, path: Path) -> None:
        """Serialise to a file."""
        with pa.OSFile(str(path), "wb") as sink:
            self._put(sink)

    def _put(self, sink: pa.NativeFile) -> None:
        put_vectors(
            sink,
            row_ids=self._segment.row_ids,
            vectors=self._segment.vectors,
            labels={_METRIC: self._metric},
        )


@final
class GpuFlatIndex(Index[RowsBody]):
    """Every row, scanned in full on a GPU; exact.

    A device holds 2 d + 12 bytes a row, and 4 d more where it has them to spare; the host maps
    4 d. Candidates of the scan are scored again in float32, and the error of half precision is
    accounted for (:class:`vecstore.gpu.exact.DeviceRows`). Without a GPU the same runs on the CPU
    in float32, where "flat" needs less memory for the same work.
    """

    kind = "gpu_flat"
    exact = True
    exact_scores = True
    supports_filter = True
    specs: ClassVar[tuple[ParameterSpec, ...]] = (
        ParameterSpec(
            name="device",
            default="auto",
            when="search",
            pattern=DEVICE_PATTERN,
            summary="auto, cpu or cuda:N; auto is VECSTORE_DEVICE, or the first GPU, or the CPU.",
        ),
        ParameterSpec(
            name="precision",
            default="auto",
            when="search",
            choices=("auto", "float16", "bfloat16", "float32"),
            summary="Of the copy on the device; auto is float16 on a GPU, float32 on a CPU.",
        ),
    )

    @classmethod
    def _build(cls, blocks: Sequence[Block], plan: IndexPlan, progress: Progress) -> RowsBody:
        row_ids = np.empty(plan.rows, np.int64)
        vectors = np.empty((plan.rows, plan.dim), np.float32)
        done = 0
        progress(done, plan.rows)
        rows = max(1024, _BUILD_BYTES // (4 * plan.dim))
        for tile in tiles(blocks, gather_bytes=_BUILD_BYTES, map_rows=rows, map_masked=False):
            here = slice(done, done + len(tile.row_ids))
            row_ids[here], vectors[here] = tile.row_ids, tile.vectors
            done += len(tile.row_ids)
            progress(done, plan.rows)
        return RowsBody(VectorSegment(row_ids=row_ids, vectors=vectors), plan.metric)

    @classmethod
    def _open(cls, source: Path | bytes, payload_bytes: int, plan: IndexPlan) -> RowsBody:
        return RowsBody.open(source, payload_bytes, plan)

    def _search(
        self,
        queries: NDArray[np.float32],
        k: int,
        allowed: RowSet | None,
        eligible: int,
        settings: Mapping[str, ParameterValue],
    ) -> Answer:
        device = resolve_device(str(settings["device"]))
        precision = settings["precision"]
        if precision == "auto":
            precision = "float32" if device == "cpu" else "float16"
        return self._body.on(device, cast(Precision, precision)).search(queries, k, allowed)
