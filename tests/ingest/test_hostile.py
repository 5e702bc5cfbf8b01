"""Whatever the bytes are: only IngestError, and no memory on the word of a header."""

from __future__ import annotations

import resource
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vecstore.errors import IngestError
from vecstore_ingest import ROW_NUMBERS, Source
from vecstore_ingest.formats import open_reader

LIMIT = 1 << 30


def _drain(source: Source) -> int:
    """Read everything; return the number of good rows, or -1 after an IngestError."""
    count = 0
    refusal = None
    try:
        for chunk in open_reader(source).chunks(batch_rows=7):
            chunk.batch.validate(full=True)
            assert len(chunk.rows) == chunk.batch.num_rows
            count += chunk.batch.num_rows
    except IngestError as error:
        refusal = str(error)
    assert refusal is None or source.path in refusal
    return count if refusal is None else -1


def _npy_header(descr: str, shape: str, order: str = "False", version: int = 1) -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    width = 2 if version == 1 else 4
    return b"\x93NUMPY" + bytes([version, 0]) + len(text).to_bytes(width, "little") + text


@pytest.fixture
def little_memory() -> Any:
    """Let the process grow by 1 GiB at most, so that an absurd allocation fails at once."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + LIMIT, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


GIGANTIC = {
    "shape.npy": _npy_header("'<f4'", "(1000000000000, 384)") + bytes(64),
    "overflow.npy": _npy_header("'<f4'", "(999999999999999999, 999999999999999999)"),
    "empty.npy": _npy_header("'<U0'", "(999999999999999, 2)"),
    "itemsize.npy": _npy_header("'<U999999999'", "(4, 4)") + bytes(64),
    "header.npy": b"\x93NUMPY\x02\x00\xff\xff\xff\xff{",
    "rows.fbin": np.array([0xFFFFFFFF, 0xFFFFFFFF], "<u4").tobytes() + bytes(64),
    "dim.fvecs": np.array([1 << 30], "<i4").tobytes() + bytes(64),
    "negative.fvecs": np.array([-5], "<i4").tobytes() + bytes(64),
    "zero.fvecs": bytes(64),
    "rows.parquet": b"PAR1" + bytes(100) + b"\xff\xff\xff\x7fPAR1",
    "rows.arrow": b"ARROW1\0\0" + b"\xff\xff\xff\xff\xff\xff\xff\x7f" * 8 + b"ARROW1",
    "rows.arrows": b"\xff\xff\xff\xff\xff\xff\xff\x7f" + bytes(64),
}


@pytest.mark.parametrize("name", GIGANTIC)
def test_gigantic_declared_sizes_are_refused(
    name: str, tmp_path: Path, little_memory: None
) -> None:
    path = tmp_path / name
    path.write_bytes(GIGANTIC[name])
    with pytest.raises(IngestError, match=name):
        list(open_reader(Source(path=str(path), ids=ROW_NUMBERS)).chunks(batch_rows=10))


@pytest.mark.parametrize("version", [1, 2, 3])
def test_every_npy_version_is_read(tmp_path: Path, version: int) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(_npy_header("'<f4'", "(2, 3)", version=version) + bytes(24))
    assert _drain(Source(path=str(path), ids=ROW_NUMBERS)) == 2


OBJECTS = {
    "objects": ("'|O'", "objects hold pickles"),
    "structured": ("[('a', '<f4')]", "structured"),
    "dates": ("'<M8[ns]'", "plain dtype"),
    "unknown": ("'<f3'", "numpy has no dtype"),
    "expression": ("__import__('os').system('true')", "plain dtype"),
}


@pytest.mark.parametrize("case", OBJECTS)
def test_objects_and_structures_are_never_loaded(case: str, tmp_path: Path) -> None:
    descr, reason = OBJECTS[case]
    path = tmp_path / "x.npy"
    path.write_bytes(_npy_header(descr, "(2, 3)") + bytes(24))
    with pytest.raises(IngestError, match=reason):
        open_reader(Source(path=str(path), ids=ROW_NUMBERS))
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("vector.npy", path.read_bytes())
    with pytest.raises(IngestError, match=reason):
        open_reader(Source(path=str(tmp_path / "x.npz")))


def test_a_pickled_array_is_refused(tmp_path: Path) -> None:
    ids = tmp_path / "ids.npy"
    np.save(ids, np.array(["a", None], dtype=object), allow_pickle=True)
    np.save(tmp_path / "x.npy", np.zeros((2, 3), np.float32))
    with pytest.raises(IngestError, match=r"ids\.npy.*pickles"):
        open_reader(Source(path=str(tmp_path / "x.npy"), ids=str(ids)))


@pytest.mark.parametrize("name", ["rows.npy", "rows.fvecs", "rows.fbin", "rows.npz"])
def test_a_truncated_matrix_is_refused_before_a_row_is_read(
    name: str, write: Callable[[str], Source]
) -> None:
    source = write(name)
    data = Path(source.path).read_bytes()
    Path(source.path).write_bytes(data[: len(data) - 30])
    with pytest.raises(IngestError, match=name):
        open_reader(source)


def test_truncation_names_the_row(write: Callable[[str], Source]) -> None:
    for name in ("rows.npy", "rows.fvecs", "rows.fbin"):
        source = write(name)
        data = Path(source.path).read_bytes()
        Path(source.path).write_bytes(data[:-30])
        with pytest.raises(IngestError, match="row 55"):
            open_reader(source)


def test_more_bytes_than_declared_are_refused(write: Callable[[str], Source]) -> None:
    for name in ("rows.npy", "rows.fbin"):
        source = write(name)
        with Path(source.path).open("ab") as file:
            file.write(bytes(8))
        with pytest.raises(IngestError, match="got"):
            open_reader(source)


def test_big_endian_fvecs_are_recognised(tmp_path: Path) -> None:
    path = tmp_path / "x.fvecs"
    path.write_bytes(np.array([5], ">i4").tobytes() + bytes(20))
    with pytest.raises(IngestError, match="big-endian"):
        open_reader(Source(path=str(path), ids=ROW_NUMBERS))


def test_a_row_of_another_dimension_ends_fvecs_after_the_rows_before(
    write: Callable[[str], Source],
) -> None:
    source = write("rows.fvecs")
    table = np.fromfile(source.path, "<i4").reshape(-1, 6)
    table[31, 0] = 4
    table.tofile(source.path)
    counts: list[int] = []
    chunks = open_reader(source).chunks(batch_rows=10)
    with pytest.raises(IngestError, match="row 31 declares 4"):
        counts.extend(chunk.batch.num_rows for chunk in chunks)
    assert counts == [10, 10, 10, 1]


def test_utf16_is_recognised(tmp_path: Path) -> None:
    for name in ("x.jsonl", "x.csv"):
        (tmp_path / name).write_bytes('{"id": "a"}'.encode("utf-16"))
        with pytest.raises(IngestError, match="UTF-16"):
            list(open_reader(Source(path=str(tmp_path / name))).chunks(batch_rows=10))


@pytest.mark.parametrize("name", ["rows.arrow", "rows.arrows", "rows.parquet"])
def test_a_column_name_that_is_no_text_is_refused(
    name: str, write: Callable[[str], Source]
) -> None:
    # Found by fuzzing: Arrow decodes a name when it is asked for, outside of what was guarded.
    source = write(name)
    content = Path(source.path).read_bytes()
    Path(source.path).write_bytes(content.replace(b"document", b"\x8aocument"))
    with pytest.raises(IngestError, match=name):
        list(open_reader(source).chunks(batch_rows=10))


@pytest.mark.parametrize(("name", "start"), [("x.jsonl", b'{"id": "'), ("x.csv", b'id,t\na,"')])
def test_a_record_without_an_end_is_refused(name: str, start: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(start + b"\0" * ((64 << 20) + (2 << 20)))
    with pytest.raises(IngestError, match="records of at most 64 MiB"):
        list(open_reader(Source(path=str(path))).chunks(batch_rows=10))


@pytest.mark.parametrize("name", ["missing.npy", "missing.jsonl", "missing.parquet", "missing.npz"])
def test_a_missing_file_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(IngestError, match="no such file"):
        list(open_reader(Source(path=str(tmp_path / name), ids="rows")).chunks(batch_rows=1))


TEMPLATES = {
    "x.npy": _npy_header("'<f4'", "(3, 4)") + bytes(48),
    "x.fvecs": np.array([[2, 0, 0]] * 5, "<i4").tobytes(),
    "x.fbin": np.array([3, 2], "<u4").tobytes() + bytes(24),
    "x.jsonl": b'{"id": "a", "vector": [1, 2.5], "t": {"x": null}}\n{"id": "b", "vector": []}\n'
    * 3,
    "x.csv": b'id,vector,t\na,"[1, 2]","x ""y"""\nb,,"two\nlines"\n' * 3,
    "x.tsv": b"id\tv0\tv1\na\t1\t2\n" * 3,
}


@st.composite
def damaged(draw: st.DrawFn, template: bytes) -> bytes:
    """The template with bytes replaced, cut out, repeated or put in."""
    data = bytearray(template)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        size = draw(st.integers(0, 12))
        data[at : at + size] = draw(
            st.one_of(
                st.binary(max_size=16),
                st.sampled_from([b'"', b"\n", b"{", b"[", b"\r", b",", b"\xff\xff\xff\xff", b"\0"]),
                st.just(bytes(data[at : at + 2 * size])),
            )
        )
    return bytes(data)


@pytest.mark.parametrize("name", TEMPLATES)
@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_raise_nothing_else(name: str, tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / name
    path.write_bytes(data.draw(st.one_of(damaged(TEMPLATES[name]), st.binary(max_size=80))))
    _drain(Source(path=str(path), ids=ROW_NUMBERS))


@pytest.mark.parametrize("name", ["rows.parquet", "rows.arrow", "rows.arrows", "small.npz"])
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_binary_tables_raise_nothing_else(
    name: str, write: Callable[[str], Source], data: st.DataObject
) -> None:
    source = write(name)
    content = Path(source.path).read_bytes()
    Path(source.path).write_bytes(data.draw(damaged(content)))
    _drain(source)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    fields=st.fixed_dictionaries(
        {
            "'descr'": st.sampled_from(
                ["'<f4'", "'>f2'", "'|O'", "'<U3'", "[('a', 'O')]", "'|V8'"]
            ),
            "'fortran_order'": st.sampled_from(["True", "False", "None"]),
            "'shape'": st.one_of(
                st.tuples(st.integers(-2, 2**63), st.integers(-2, 2**63)).map(str),
                st.sampled_from(["()", "(3,)", "(0, 4)", "(3, 0)", "(3, 4, 5)", "((3), 4)"]),
            ),
        }
    ),
    body=st.binary(max_size=64),
)
def test_any_npy_header_is_read_or_refused(
    fields: dict[str, str], body: bytes, tmp_path: Path
) -> None:
    text = ("{" + ", ".join(f"{k}: {v}" for k, v in fields.items()) + "}\n").encode()
    path = tmp_path / "x.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body)
    _drain(Source(path=str(path), ids=ROW_NUMBERS))
