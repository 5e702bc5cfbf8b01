"""Files of ann-benchmarks: what is no plain matrix in the file itself is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import vecstore
from vecstore.errors import IngestError
from vecstore_ingest import ROW_NUMBERS, Source
from vecstore_ingest.formats import open_reader

ROWS = np.arange(60, dtype=np.float32).reshape(20, 3)


def _external(file: Any, folder: Path) -> None:
    secret = folder / "secret.bin"
    secret.write_bytes(ROWS.tobytes())
    file.create_dataset("train", data=ROWS, external=[(str(secret), 0, ROWS.nbytes)])


def _elsewhere(file: Any, folder: Path) -> None:
    with h5py.File(folder / "other.hdf5", "w") as other:
        other["train"] = ROWS
    file["train"] = h5py.ExternalLink(str(folder / "other.hdf5"), "train")


def _virtual(file: Any, folder: Path) -> None:
    with h5py.File(folder / "other.hdf5", "w") as other:
        other["train"] = ROWS
    layout = h5py.VirtualLayout(shape=ROWS.shape, dtype=ROWS.dtype)
    layout[:] = h5py.VirtualSource(str(folder / "other.hdf5"), "train", shape=ROWS.shape)
    file.create_virtual_dataset("train", layout)


def _gigantic(file: Any, _folder: Path) -> None:
    file.create_dataset("train", shape=(10**12, 384), dtype="f4", chunks=(1000, 384))


def _packed_gigantic(file: Any, _folder: Path) -> None:
    rows = file.create_dataset(
        "train", shape=(10**9, 384), dtype="f4", chunks=(100, 384), compression="gzip"
    )
    rows[:100] = np.zeros((100, 384), np.float32)


HOSTILE: dict[str, tuple[Callable[[Any, Path], Any], str]] = {
    "no train": (lambda file, _: file.create_dataset("test", data=ROWS), "has 'test'"),
    "nothing": (lambda file, _: None, "has none"),
    "group": (lambda file, _: file.create_group("train"), "expected a data set 'train'"),
    "flat": (lambda file, _: file.create_dataset("train", data=ROWS[0]), "one vector per row"),
    "cube": (lambda file, _: file.create_dataset("train", data=ROWS[None]), "one vector per row"),
    "texts": (lambda file, _: file.create_dataset("train", data=[[b"a"]]), "matrix of numbers"),
    "empty": (lambda file, _: file.create_dataset("train", data=h5py.Empty("f4")), "matrix of"),
    "external": (_external, "in the file itself"),
    "link": (_elsewhere, "in the file itself"),
    "soft link": (
        lambda file, _: file.__setitem__("train", h5py.SoftLink("/x")),
        "in the file itself",
    ),
    "virtual": (_virtual, "in the file itself"),
    "gigantic": (_gigantic, "claims 1,536,000,000,000,000 bytes"),
    "packed gigantic": (_packed_gigantic, "claims 1,536,000,000,000 bytes"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_no_plain_matrix_in_the_file_is_refused(case: str, tmp_path: Path) -> None:
    make, reason = HOSTILE[case]
    path = tmp_path / "x.hdf5"
    with h5py.File(path, "w") as file:
        make(file, tmp_path)
    with pytest.raises(IngestError, match=reason) as refused:
        list(open_reader(Source(path=str(path), ids=ROW_NUMBERS)).chunks(batch_rows=7))
    assert str(path) in str(refused.value)


def test_a_file_that_is_cut_short_or_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.hdf5"
    with h5py.File(path, "w") as file:
        file["train"] = ROWS
    whole = path.read_bytes()
    for part in (whole[:-100], whole[:100], b"\x89HDF\r\n\x1a\n", b"", b"no HDF5"):
        path.write_bytes(part)
        with pytest.raises(IngestError, match=r"x\.hdf5"):
            list(open_reader(Source(path=str(path), ids=ROW_NUMBERS)).chunks(batch_rows=7))
    with pytest.raises(IngestError, match="no such file"):
        open_reader(Source(path=str(tmp_path / "none.hdf5"), ids=ROW_NUMBERS))


def test_a_file_of_ann_benchmarks_is_ingested_and_found(tmp_path: Path) -> None:
    from vecstore_ingest import ingest

    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(500, 8)), rng.normal(size=(5, 8))
    path = tmp_path / "x.hdf5"
    with h5py.File(path, "w") as file:
        file["train"], file["test"] = train.astype("f4"), test.astype("f4")
    with vecstore.open(tmp_path / "store") as store:
        docs = store.create_collection("docs")
        docs.create_space("v", dim=8, metric="l2")
        ingest(docs, Source(path=str(path), ids=ROW_NUMBERS), space="v")
        distances = ((test[:, None] - train[None]) ** 2).sum(axis=2)
        expected = np.argsort(distances, axis=1)[:, :10].astype(str)
        assert docs.search(test, k=10).ids.tolist() == expected.tolist()
