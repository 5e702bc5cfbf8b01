"""A small data set and one writer per source format."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

import vecstore
from vecstore_ingest import Source


@dataclass(frozen=True)
class Rows:
    """Ids, vectors and texts of 57 rows, a number that no batch size divides."""

    ids: list[str]
    vectors: NDArray[np.float32]
    texts: list[str]

    def table(self) -> pa.Table:
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(self.vectors.reshape(-1)), 5)
        return pa.table({"id": self.ids, "vector": vectors, "document": self.texts})


@pytest.fixture(scope="session")
def rows() -> Rows:
    rng = np.random.default_rng(7)
    texts = [f'text "{i}", a comma\nand a second line é' for i in range(57)]
    vectors = rng.standard_normal((57, 5)).astype(np.float32)
    return Rows(ids=[f"{i:03d}" for i in range(57)], vectors=vectors, texts=texts)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[vecstore.Store]:
    with vecstore.open(tmp_path / "test.vecstore") as store:
        yield store


@pytest.fixture
def docs(store: vecstore.Store) -> vecstore.Collection:
    """A collection with one l2 space of 5 dimensions, which keeps vectors as they are."""
    docs = store.create_collection("docs")
    docs.create_space("v1", dim=5, metric="l2")
    return docs


def _parquet(path: Path, rows: Rows) -> Source:
    pq.write_table(rows.table(), path, row_group_size=10)
    return Source(path=str(path))


def _arrow_file(path: Path, rows: Rows) -> Source:
    with pa.ipc.new_file(path, rows.table().schema) as writer:
        writer.write_table(rows.table(), max_chunksize=9)
    return Source(path=str(path))


def _arrow_stream(path: Path, rows: Rows) -> Source:
    with pa.ipc.new_stream(path, rows.table().schema) as writer:
        writer.write_table(rows.table(), max_chunksize=9)
    return Source(path=str(path))


def _feather(path: Path, rows: Rows) -> Source:
    pyarrow.feather.write_feather(rows.table(), str(path), compression="lz4", chunksize=11)
    return Source(path=str(path))


def _json_lines(rows: Rows) -> bytes:
    # Full precision: repr of a float64 that came from float32 reads back to the same float32.
    records = zip(rows.ids, rows.vectors.tolist(), rows.texts, strict=True)
    keys = ("id", "vector", "document")
    return b"".join(json.dumps(dict(zip(keys, r, strict=True))).encode() + b"\n" for r in records)


def _jsonl(path: Path, rows: Rows) -> Source:
    path.write_bytes(b"\xef\xbb\xbf" + _json_lines(rows).replace(b"\n", b"\r\n\n"))
    return Source(path=str(path))


def _compressed_jsonl(path: Path, rows: Rows) -> Source:
    with pa.output_stream(str(path), compression="detect") as stream:
        stream.write(_json_lines(rows))
    return Source(path=str(path))


def _csv_json_column(path: Path, rows: Rows) -> Source:
    table = rows.table().set_column(1, "vector", pa.array(map(str, rows.vectors.tolist())))
    pyarrow.csv.write_csv(table, path)
    return Source(path=str(path))


def _csv_numbered(path: Path, rows: Rows) -> Source:
    columns = {f"v{i}": rows.vectors[:, i] for i in range(5)}
    table = pa.table({"id": rows.ids, **columns, "document": rows.texts})
    options = pyarrow.csv.WriteOptions(delimiter="\t" if path.suffix == ".tsv" else ",")
    pyarrow.csv.write_csv(table, path, options)
    return Source(path=str(path))


def _npy(path: Path, rows: Rows) -> Source:
    np.save(path, rows.vectors)
    ids = path.with_suffix(".txt")
    ids.write_text("\r\n".join(rows.ids) + "\r\n")
    return Source(path=str(path), ids=str(ids))


def _npy_other_order(path: Path, rows: Rows) -> Source:
    np.save(path, np.asfortranarray(rows.vectors.astype(">f8")))
    ids = path.with_name("ids.npy")
    np.save(ids, np.array(rows.ids))
    return Source(path=str(path), ids=str(ids))


def _npz(path: Path, rows: Rows) -> Source:
    save = np.savez_compressed if path.name.startswith("small") else np.savez
    save(path, ids=np.array(rows.ids), vector=rows.vectors, document=np.array(rows.texts))
    return Source(path=str(path))


def _fvecs(path: Path, rows: Rows) -> Source:
    table = np.empty((57, 6), "<i4")
    table[:, 0] = 5
    table[:, 1:] = rows.vectors.view("<i4")
    path.write_bytes(table.tobytes())
    return Source(path=str(path), ids=_npy(path.with_suffix(".npy"), rows).ids)


def _fbin(path: Path, rows: Rows) -> Source:
    header = np.array([57, 5], "<u4").tobytes()
    path.write_bytes(header + rows.vectors.astype("<f4").tobytes())
    return Source(path=str(path), ids=_npy(path.with_suffix(".npy"), rows).ids)


def _hdf5(path: Path, rows: Rows) -> Source:
    """Write the layout of ann-benchmarks: train is stored, test and neighbours are not rows."""
    import h5py

    packed = {"compression": "gzip", "chunks": (10, 5)} if path.suffix == ".h5" else {}
    with h5py.File(path, "w") as file:
        file.attrs["distance"] = "angular"
        file.create_dataset("train", data=rows.vectors, **packed)
        file.create_dataset("test", data=rows.vectors[:3])
        file.create_dataset("neighbors", data=np.zeros((3, 10), np.int32))
        file.create_dataset("distances", data=np.zeros((3, 10), np.float32))
    return Source(path=str(path), ids=_npy(path.with_suffix(".npy"), rows).ids)


WRITERS: dict[str, Callable[[Path, Rows], Source]] = {
    "rows.parquet": _parquet,
    "rows.arrow": _arrow_file,
    "rows.arrows": _arrow_stream,
    "rows.feather": _feather,
    "rows.jsonl": _jsonl,
    "rows.jsonl.gz": _compressed_jsonl,
    "rows.ndjson.zst": _compressed_jsonl,
    "rows.csv": _csv_json_column,
    "wide.csv": _csv_numbered,
    "wide.tsv": _csv_numbered,
    "rows.npy": _npy,
    "other.npy": _npy_other_order,
    "rows.npz": _npz,
    "small.npz": _npz,
    "rows.fvecs": _fvecs,
    "rows.fbin": _fbin,
    "rows.hdf5": _hdf5,
    "packed.h5": _hdf5,
}


@pytest.fixture(params=list(WRITERS))
def source(request: pytest.FixtureRequest, tmp_path: Path, rows: Rows) -> Source:
    """The rows as a file of each format."""
    return WRITERS[request.param](tmp_path / request.param, rows)


@pytest.fixture
def write(tmp_path: Path, rows: Rows) -> Callable[[str], Source]:
    """Write the rows as a file of the named kind."""
    return lambda name: WRITERS[name](tmp_path / name, rows)


@pytest.fixture(scope="session")
def written_names() -> list[str]:
    """Names of the files that `source` and `write` know."""
    return list(WRITERS)
