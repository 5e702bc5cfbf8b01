"""Arrow IPC files (Feather V2 among them) and streams, told apart by their first bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import final

import pyarrow as pa

from vecstore.errors import IngestError
from vecstore_ingest.formats.reader import START, Chunk, Position, Reader, Source, reading
from vecstore_ingest.formats.tabular import rechunked

__all__ = ["ArrowReader"]

_FILE_MAGIC = b"ARROW1"
_FEATHER_V1_MAGIC = b"FEA1"


@final
class ArrowReader(Reader):
    """Read Arrow IPC from a memory map."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        with reading(source):
            with Path(source.path).open("rb") as file:
                magic = file.read(len(_FILE_MAGIC))
            if magic.startswith(_FEATHER_V1_MAGIC):
                raise IngestError(
                    f"{source.path}: expected Arrow IPC or Feather V2, got Feather V1; read it "
                    "with pyarrow.feather and write it again"
                )
            self._is_file = magic == _FILE_MAGIC
            # Names are decoded when they are asked for, and may not be text.
            self._names: list[str] = self._open(None).schema.names

    def chunks(
        self,
        start: Position = START,
        *,
        batch_rows: int,
        columns: Sequence[str] | None = None,
    ) -> Iterator[Chunk]:
        """Yield chunks from a row on; batches before it are mapped, never copied."""
        yield from rechunked(
            self._batches(columns),
            source=self.source,
            row=start.row,
            skip=start.row,
            batch_rows=batch_rows,
        )

    def _open(
        self, columns: Sequence[str] | None
    ) -> pa.RecordBatchReader | pa.RecordBatchFileReader:
        fields = None if columns is None else [self._names.index(name) for name in columns]
        options = pa.ipc.IpcReadOptions(included_fields=fields)
        data = pa.memory_map(self.source.path)
        if self._is_file:
            return pa.ipc.open_file(data, options=options)
        return pa.ipc.open_stream(data, options=options)

    def _batches(self, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        opened = self._open(columns)
        if self._is_file:
            for i in range(opened.num_record_batches):
                yield opened.get_batch(i)
        else:
            yield from opened
