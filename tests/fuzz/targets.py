"""What foreign bytes reach, as functions of bytes that raise nothing but VecstoreError.

``tests/fuzz/run.py`` drives them with coverage as its guide; ``tests/fuzz/test_targets.py`` runs
each over its seeds and a few thousand mutations, so that a target cannot rot.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vecstore.errors import VecstoreError
from vecstore.filters import parse_where, select_rows
from vecstore.ids import as_ids
from vecstore.indexes.files import read_header
from vecstore.indexes.flat import FlatIndex
from vecstore.names import check_name, slug
from vecstore.storage.vectors import parse_vectors, put_vectors
from vecstore_ingest import ROW_NUMBERS, Source
from vecstore_ingest.encoders.address import Address
from vecstore_ingest.formats import FORMATS, open_reader
from vecstore_translators import Procrustes, dump, load
from vecstore_translators.serialization import CONFIG_FILE, PARAMETERS_FILE

SCHEMA = pa.schema(
    [("id", pa.string()), ("document", pa.string()), ("year", pa.int64()), ("score", pa.float64()),
     ("tags", pa.list_(pa.string())), ("day", pa.timestamp("us", tz="UTC"))]
)  # fmt: skip
TABLE = pa.table(
    {
        "row_id": [1, 2, 3],
        "id": ["a", "b", None],
        "document": ["one", "4711", None],
        "year": [1, 2, None],
        "score": [0.5, -1.0, None],
        "tags": [["x"], [], None],
        "day": pa.array([0, 1, None], pa.timestamp("us", tz="UTC")),
    }
)


@dataclass(frozen=True, kw_only=True)
class Target:
    """A reader of foreign bytes and inputs that it accepts or nearly accepts."""

    run: Callable[[bytes], object]
    seeds: tuple[bytes, ...]

    def __call__(self, data: bytes) -> bool:
        """Return whether the bytes were accepted; anything but VecstoreError is a finding."""
        said = None
        try:
            self.run(data)
        except VecstoreError as refusal:
            said = str(refusal)
        assert len(said or "") < 100_000, "a refusal must not repeat a whole file"
        return said is None


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="vecstore-fuzz-"))


def _reads(name: str) -> Callable[[bytes], object]:
    def read(data: bytes) -> None:
        path = _folder() / f"x.{name}"
        path.write_bytes(data)
        for chunk in open_reader(Source(path=str(path), ids=ROW_NUMBERS)).chunks(batch_rows=7):
            chunk.batch.validate(full=True)

    return read


def _filters(data: bytes) -> None:
    where = data.decode("utf-8", "surrogateescape")
    found = select_rows(TABLE, parse_where(where, SCHEMA))
    assert set(found.tolist()) <= {1, 2, 3}


def _filters_mapping(data: bytes) -> None:
    try:
        where = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(where, dict) and where:
        found = select_rows(TABLE, parse_where(where, SCHEMA))
        assert set(found.tolist()) <= {1, 2, 3}


def _names(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")  # as file names come: not always valid text
    folder = slug(text)
    assert 1 <= len(folder) <= 40
    assert not set(folder) & set("/.\0")
    as_ids([text])
    check_name(text, what="collection")


def _addresses(data: bytes) -> None:
    address = Address.parse(data.decode("utf-8", "replace"))
    assert Address.parse(str(address)) == address


@cache
def _translator() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 3))
    return dict(dump(Procrustes().fit(X, X[:, ::-1])))


@cache
def _index() -> bytes:
    from vecstore.indexes.blocks import Block

    block = Block(row_ids=np.arange(4), vectors=np.eye(4, dtype=np.float32))
    return FlatIndex.build([block], dim=4, metric="ip").to_bytes()


def _table_bytes(write: Callable[[Any, pa.Table], object]) -> bytes:
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(6, np.float32)), 2)
    table = pa.table({"id": ["a", "b", "c"], "vector": vectors, "document": ["x", None, ""]})
    sink = io.BytesIO()
    write(sink, table)
    return sink.getvalue()


def _arrow(sink: Any, table: pa.Table) -> None:
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def _segment() -> bytes:
    sink = pa.BufferOutputStream()
    put_vectors(sink, row_ids=np.arange(3), vectors=np.zeros((3, 2), np.float32), labels={"a": "b"})
    return bytes(sink.getvalue())


def _npy(array: np.ndarray[Any, Any]) -> bytes:
    sink = io.BytesIO()
    np.save(sink, array)
    return sink.getvalue()


def _npz() -> bytes:
    sink = io.BytesIO()
    np.savez(sink, ids=np.array(["a", "b"]), vector=np.zeros((2, 3), np.float32))
    return sink.getvalue()


def _hdf5() -> bytes:
    sink = io.BytesIO()
    with h5py.File(sink, "w") as file:
        file["train"], file["test"] = np.zeros((9, 4), "f4"), np.zeros((2, 4), "f4")
        file["neighbors"], file["distances"] = np.zeros((2, 3), "i4"), np.zeros((2, 3), "f4")
        file.attrs["distance"] = "angular"
    return sink.getvalue()


_FILE_SEEDS: dict[str, tuple[bytes, ...]] = {
    "npy": (_npy(np.zeros((3, 4), np.float32)), _npy(np.asfortranarray(np.zeros((2, 2), ">f8")))),
    "npz": (_npz(),),
    "hdf5": (_hdf5(),),
    "fvecs": (np.array([[2, 0, 0]] * 5, "<i4").tobytes(),),
    "fbin": (np.array([3, 2], "<u4").tobytes() + bytes(24),),
    "jsonl": (b'{"id": "a", "vector": [1, 2.5], "t": {"x": null}}\n{"id": "b", "vector": []}\n',),
    "csv": (b'id,vector,t\na,"[1, 2]","x ""y"""\nb,,"two\nlines"\n',),
    "tsv": (b"id\tv0\tv1\na\t1\t2\n",),
    "parquet": (_table_bytes(lambda sink, table: pq.write_table(table, sink)),),
    "arrow": (_table_bytes(_arrow),),
}

TARGETS: dict[str, Target] = {
    **{
        name: Target(run=_reads(name), seeds=seeds)
        for name, seeds in _FILE_SEEDS.items()
        if name in FORMATS
    },
    "filter": Target(
        run=_filters,
        seeds=(
            b"year > 1 AND (document LIKE 'o%' OR NOT id IN ('a', 'b'))",
            b"list_contains(tags, 'x') AND day < TIMESTAMP '2020-01-01' AND score BETWEEN -1 AND 1",
            b"CASE WHEN year IS NULL THEN false ELSE lower(document) = 'one' END",
        ),
    ),
    "filter-mapping": Target(
        run=_filters_mapping,
        seeds=(
            b'{"year": {"$gt": 1}, "$or": [{"document": "one"}, {"tags": {"$contains": "x"}}]}',
            b'{"$and": [{"id": {"$in": ["a", "b"]}}, {"score": {"$ne": null}}]}',
        ),
    ),
    "name": Target(run=_names, seeds=("Bücher 📚".encode(), b"../../etc/passwd", b"a\0b")),
    "address": Target(
        run=_addresses, seeds=(b"openai:text-embedding-3-small?dimensions=256", b"vectors:a.npy")
    ),
    "translator-parameters": Target(
        run=lambda data: load({**_translator(), PARAMETERS_FILE: data}),
        seeds=(_translator()[PARAMETERS_FILE],),
    ),
    "translator-config": Target(
        run=lambda data: load({**_translator(), CONFIG_FILE: data}),
        seeds=(_translator()[CONFIG_FILE],),
    ),
    "index": Target(run=FlatIndex.from_bytes, seeds=(_index(),)),
    "index-header": Target(run=read_header, seeds=(_index()[-300:],)),
    "vector-segment": Target(
        run=lambda data: parse_vectors(pa.py_buffer(data), path="x.arrow", dim=2),
        seeds=(_segment(),),
    ),
}
