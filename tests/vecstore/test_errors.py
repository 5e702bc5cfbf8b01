"""What is refused: the named error, a message that helps, and a collection left as it was."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import traceback

import numpy as np
import pyarrow as pa
import pytest

import vecstore
from vecstore.errors import (
    AlreadyExistsError,
    CorruptFileError,
    DimensionMismatchError,
    InvalidArgumentError,
    InvalidFilterError,
    InvalidMetadataError,
    InvalidVectorsError,
    NonFiniteError,
    NotFoundError,
    SpaceMismatchError,
    StorageError,
    UnpairedRowsError,
    VecstoreError,
)


@pytest.fixture
def docs(store):
    docs = store.create_collection("docs")
    docs.create_space("v1", dim=3, model="m", revision="1")
    docs.upsert(ids=["a", "b"], vectors=np.eye(2, 3), metadata={"n": [1, 2]})
    return docs


@pytest.fixture(autouse=True)
def unchanged(request):
    """Nothing that is refused leaves a trace."""
    if "docs" not in request.fixturenames:
        yield
        return
    docs = request.getfixturevalue("docs")
    before = docs.refresh()
    yield
    after = docs.refresh()
    assert after.version == before.version
    assert after.schema == before.schema
    assert after.count() == before.count()


def space_like(**changes):
    options = {"name": "v1", "dim": 3, "model": "m", "revision": "1"} | changes
    return vecstore.Space(**options)


@pytest.mark.parametrize(
    "other",
    [
        space_like(model="another"),
        space_like(revision="2"),
        space_like(model=None),
        space_like(metric="l2"),
        space_like(profile=vecstore.EncodingProfile(query_prompt="query: ")),
        space_like(profile=vecstore.EncodingProfile(pooling="cls")),
    ],
    ids=["model", "revision", "no model", "metric", "prompt", "pooling"],
)
def test_a_space_of_the_same_name_and_dimension_is_not_the_same_space(docs, other):
    assert other.dim == docs.spaces["v1"].dim
    vectors = np.eye(1, 3)
    for refused in (
        lambda: docs.upsert(ids=["c"], vectors=vectors, space=other),
        lambda: docs.add_vectors(ids=["a"], vectors=vectors, space=other),
        lambda: docs.search(vectors[0], space=other),
    ):
        with pytest.raises(SpaceMismatchError, match="even when their dimensions agree"):
            refused()
    assert docs.search(vectors[0], space=space_like()).ids == ["a", "b"]


def test_dtype_and_lineage_are_no_part_of_what_a_vector_means():
    assert space_like(dtype="float16").fingerprint == space_like().fingerprint
    assert space_like(supersedes="v0").fingerprint == space_like().fingerprint
    assert space_like(name="v2").fingerprint == space_like().fingerprint
    unnamed = {"model": None, "revision": None}
    assert space_like(name="v2", **unnamed).fingerprint != space_like(**unnamed).fingerprint


BAD_VECTORS = {
    "dimension": (np.ones((1, 4)), DimensionMismatchError, "3 dimensions.*got 4"),
    "nan": ([[1, np.nan, 0]], NonFiniteError, "row 0"),
    "infinity": ([[1, np.inf, 0]], NonFiniteError, "row 0"),
    "too large for float32": ([[1e39, 0, 0]], NonFiniteError, "row 0"),
    "zero": ([[0, 0, 0]], NonFiniteError, "zero vector"),
    "one axis": ([1, 2, 3], InvalidVectorsError, "two-dimensional|rectangular"),
    "three axes": (np.ones((1, 1, 3)), InvalidVectorsError, "shape"),
    "ragged": ([[1, 2, 3], [1]], InvalidVectorsError, "rectangular"),
    "strings": ([["1", "2", "3"]], InvalidVectorsError, "real numbers"),
    "complex": (np.ones((1, 3)) * 1j, InvalidVectorsError, "real numbers"),
    "bool": (np.ones((1, 3), bool), InvalidVectorsError, "real numbers"),
    "objects": (np.array([[1, 2, None]]), InvalidVectorsError, "real numbers"),
    "two rows": (np.ones((2, 3)), UnpairedRowsError, "1 ids, got 2"),
    "no rows": (np.ones((0, 3)), UnpairedRowsError, "1 ids, got 0"),
}


@pytest.mark.parametrize("case", BAD_VECTORS)
def test_vectors_that_do_not_fit_are_refused_by_every_write(docs, case):
    vectors, error, message = BAD_VECTORS[case]
    for form in (vectors, {"v1": vectors}):
        with pytest.raises(error, match=message):
            docs.upsert(ids=["a"], vectors=form)
    with pytest.raises(error, match=message):
        docs.add_vectors(ids=["a"], vectors=vectors, on_existing="replace")


@pytest.mark.parametrize(
    "case", [c for c in BAD_VECTORS if c not in ("two rows", "no rows", "one axis")]
)
def test_queries_that_do_not_fit_are_refused(docs, case):
    vectors, error, _ = BAD_VECTORS[case]
    with pytest.raises(error):
        docs.search(vectors, space="v1")


def test_lengths_whose_scores_overflow_are_refused_and_the_longest_that_fit_are_ranked(store):
    for metric in ("ip", "l2"):
        docs = store.create_collection(metric)
        docs.create_space("v", dim=2, metric=metric)
        with pytest.raises(NonFiniteError, match="overflow"):
            docs.upsert(ids=["a"], vectors=[[1e19, 0]])
        docs.upsert(ids=["a", "b"], vectors=[[9e17, 0], [-9e17, 0]])
        with pytest.raises(NonFiniteError, match="overflow"):
            docs.search([0, 1e20])
        for queries in ([[9e17, 0]], [[9e17, 0]] * 9):
            hits = docs.search(queries)[0]
            assert hits.ids == ["a", "b"]
            assert np.isfinite(hits.scores).all()


def test_what_float16_cannot_hold_is_refused(store):
    docs = store.create_collection("docs")
    docs.create_space("v", dim=2, metric="ip", dtype="float16")
    docs.upsert(ids=["a"], vectors=[[65504, 1]])
    with pytest.raises(NonFiniteError, match=r"row 1 .*65504"):
        docs.upsert(ids=["b", "c"], vectors=[[1, 1], [0, -65600]])
    assert docs.search([1e6, 0]).scores[0] == 65504 * 1e6


BAD_IDS = {
    "repeated": (["a", "x", "a"], "'a'"),
    "empty": (["x", ""], "position 1"),
    "NUL": (["x", "a\0b"], "position 1"),
    "too long": (["x", "é" * 513], "1024 bytes"),
    "None": (["x", None], "position 1"),
    "numbers": ([1, 2], "strings"),
    "bytes": ([b"a", b"b"], "strings"),
    "mixed": (["a", 1], "strings"),
    "numpy numbers": (np.array([1, 2]), "strings"),
    "arrow numbers": (pa.array([1, 2]), "strings"),
    "a lone surrogate": (["\ud800"], "strings"),
    "one string": ("abc", "sequence"),
    "a set": ({"a", "b"}, "order"),
    "a mapping": ({"a": 1}, "order"),
    "nothing": (None, "strings"),
}


@pytest.mark.parametrize("case", BAD_IDS)
def test_ids_that_are_no_ids_are_refused_by_every_write(docs, case):
    ids, message = BAD_IDS[case]
    with pytest.raises(InvalidArgumentError, match=message):
        docs.upsert(ids=ids)
    with pytest.raises(InvalidArgumentError):
        docs.add_vectors(ids=ids, vectors=np.ones((2, 3)))
    if case not in ("repeated", "one string", "nothing"):
        with pytest.raises(InvalidArgumentError):
            docs.get(ids)
        with pytest.raises(InvalidArgumentError):
            docs.delete(ids)


def test_ids_are_taken_in_every_honest_form_and_mean_nothing_but_themselves(store):
    docs = store.create_collection("docs")
    names = [
        "../../etc/passwd",
        "a/b",
        ".",
        "ünï 雪",
        "'; DROP TABLE files; --",
        " x ",
        "CON",
        "\n",
    ]
    for number, form in enumerate((names, np.array(names), pa.array(names), tuple(names))):
        assert docs.upsert(ids=form, documents=[str(number)] * 8).rows == 8
    large = pa.chunked_array(
        [pa.array(names[:3], pa.large_string()), pa.array(names[3:])[:0].cast(pa.large_string())]
    )
    docs.delete(large)
    assert len(docs) == 5
    assert docs.get(names[3]).document == "3"
    assert [item.id for item in docs.get(list(reversed(names[3:])))] == names[:2:-1]
    folder = store._root.folder
    assert all(p.resolve().is_relative_to(folder) for p in folder.rglob("*"))


def test_names_that_are_paths_or_unicode_stay_names(tmp_path):
    names = ["../up", "/etc", "a\\b", "été", "CON", "a" * 128, "雪"]
    with vecstore.open(tmp_path / "store") as store:
        for name in names:
            docs = store.create_collection(name)
            docs.create_space(name, dim=1, metric="ip")
            docs.upsert(ids=["x"], vectors=[[2]])
        assert store.collections() == sorted(names)
    assert {p.name for p in tmp_path.iterdir()} == {"store"}
    with vecstore.open(tmp_path / "store") as store:
        for name in names:
            assert store.collection(name).search([1], space=name).ids == ["x"]
        for bad in ("", "a" * 129, " a", "a\nb", "a\0", "e\u0301", 7, None):
            with pytest.raises(InvalidArgumentError, match="name"):
                store.create_collection(bad)
            with pytest.raises(InvalidArgumentError, match="name"):
                docs.create_space(bad, dim=1)


def test_what_is_not_there_is_named_with_what_is(docs, store):
    for refused in (
        lambda: docs.upsert(ids=["c"], vectors=np.ones((1, 3)), space="v9"),
        lambda: docs.upsert(ids=["c"], vectors={"v9": np.ones((1, 3))}),
        lambda: docs.add_vectors(ids=["a"], vectors=np.ones((1, 3)), space="v9"),
        lambda: docs.search([1, 2, 3], space="v9"),
        lambda: docs.search({"v1": [1, 2, 3], "v9": [1]}),
        lambda: docs.explain(space="v9"),
        lambda: docs.get("a", spaces=["v9"]),
        lambda: docs.scan(spaces=["v9"]),
        lambda: docs.drop_space("v9"),
        lambda: docs.create_space("v2", dim=1, supersedes="v9"),
        lambda: docs.fit_translator(source="v1", target="v9"),
        lambda: docs.build_index(space="v9"),
    ):
        with pytest.raises(NotFoundError, match=r"'v9'.*'v1'"):
            refused()
    with pytest.raises(NotFoundError, match=r"'nope'.*'docs'"):
        store.collection("nope")
    with pytest.raises(NotFoundError, match="versions 0 to 2, got 9"):
        docs.at(9)
    with pytest.raises(NotFoundError, match=r"2 of 3 ids.*'x'"):
        docs.get(["a", "x", "y"])
    with pytest.raises(NotFoundError, match=r"'x'.*upsert the items first"):
        docs.add_vectors(ids=["a", "x"], vectors=np.ones((2, 3)), on_existing="replace")
    with pytest.raises(NotFoundError):
        docs.drop_translator("none")
    with pytest.raises(AlreadyExistsError, match="'v1'"):
        docs.create_space("v1", dim=3)
    with pytest.raises(AlreadyExistsError, match="'docs'"):
        store.create_collection("docs")
    assert store.create_collection("docs", exist_ok=True) is docs
    with pytest.raises(AlreadyExistsError, match="on_existing"):
        docs.add_vectors(ids=["a"], vectors=np.ones((1, 3)))


def test_arguments_that_contradict_each_other_are_refused(docs):
    vectors = np.ones((1, 3))
    for refused in (
        lambda: docs.delete(),
        lambda: docs.delete(["a"], where="n = 1"),
        lambda: docs.delete(where={}),
        lambda: docs.delete(where=""),
        lambda: docs.at("1"),
        lambda: docs.search([1, 2, 3], rescore_depth=-5),
        lambda: docs.upsert(ids=["c"], vectors={"v1": vectors}, space="v1"),
        lambda: docs.add_vectors(ids=["a"], vectors=vectors, on_existing="maybe"),
        lambda: docs.add_vectors(ids=["a"], vectors={}),
        lambda: docs.add_vectors(ids=["a"], vectors=None),
        lambda: docs.search({}),
        lambda: docs.search([1, 2, 3], k=0),
        lambda: docs.search([1, 2, 3], k=1, limit=1),
        lambda: docs.scan(batch_rows=0),
        lambda: docs.create_space("x", dim=0),
        lambda: docs.create_space("x", dim=2.0),
        lambda: docs.create_space("x", dim="2"),
        lambda: docs.create_space("x", dim=True),
        lambda: docs.create_space("x", dim=2, metric="dot"),
        lambda: docs.create_space("x", dim=2, dtype="int8"),
        lambda: docs.upsert(ids=["c"], documents="c"),
        lambda: docs.upsert(ids=["c"], documents=[1]),
        lambda: docs.upsert(ids=["c"], documents=["\ud800"]),
        lambda: docs.fit_translator(source="v1", target="v1"),
    ):
        with pytest.raises((InvalidArgumentError, NotFoundError)) as refusal:
            refused()
        assert len(str(refusal.value)) > 20
    for refused in (
        lambda: docs.upsert(ids=["c"], documents=["x", "y"]),
        lambda: docs.upsert(ids=["c"], metadata={"n": [1, 2]}),
        lambda: docs.upsert(ids=["c"], metadata=[{"n": 1}, {"n": 2}]),
    ):
        with pytest.raises(UnpairedRowsError):
            refused()
    with pytest.raises(InvalidVectorsError, match="shapes"):
        docs.search(7.0)
    with pytest.raises(InvalidFilterError):
        docs.delete(where="nope = 1")


BAD_METADATA = {
    "text into integers": {"n": ["x"]},
    "bool into integers": {"n": [True]},
    "reserved row_id": {"row_id": [1]},
    "reserved id": {"id": ["x"]},
    "reserved document": {"document": ["x"]},
    "empty name": {"": [1]},
    "unprintable name": {"a\nb": [1]},
    "two types": {"m": [[1, "x"]]},
    "bytes": {"m": [b"x"]},
    "a time span": {"m": [dt.timedelta(1)]},
    "beyond int64": {"m": [2**63]},
    "a single text": {"m": "x"},
    "a lone surrogate": {"m": ["\ud800"]},
    "no columns at all": 7,
}


@pytest.mark.parametrize("case", BAD_METADATA)
def test_metadata_that_does_not_fit_is_refused(docs, case):
    with pytest.raises(InvalidMetadataError):
        docs.upsert(ids=["c"], metadata=BAD_METADATA[case])


def test_columns_widen_only_where_no_value_changes(store):
    docs = store.create_collection("docs")
    docs.upsert(ids=["a"], metadata={"n": [2**53], "m": [None], "list": [[]]})
    docs.upsert(ids=["b"], metadata={"n": [0.5], "m": ["text"], "list": [["x"]]})
    docs.upsert(ids=["c"], metadata={"n": [7], "m": [None]})
    assert [i.metadata["n"] for i in docs.get(["a", "b", "c"])] == [2**53, 0.5, 7]
    assert [str(docs.schema.field(c).type) for c in ("n", "m")] == ["double", "string"]
    assert [i.metadata["list"] for i in docs.get(["a", "b", "c"])] == [[], ["x"], None]
    assert docs.count("n > 1") == 2
    # An integer that float64 cannot hold is refused from either side, and breaks nothing.
    with pytest.raises(InvalidMetadataError, match="'n'"):
        docs.upsert(ids=["d"], metadata={"n": [2**53 + 1]})
    docs.upsert(ids=["e"], metadata={"big": [2**53 + 1]})
    with pytest.raises(InvalidMetadataError, match="'big'"):
        docs.upsert(ids=["f"], metadata={"big": [0.5]})
    docs.upsert(ids=["g"], metadata={"lists": [[0.5]]})
    with pytest.raises(InvalidMetadataError, match="'lists'"):
        docs.upsert(ids=["h"], metadata={"lists": [[2**53 + 1]]})
    assert docs.get("e").metadata["big"] == 2**53 + 1
    assert len(list(docs.scan())) == 1
    assert docs.at(1).get("a").metadata == {"n": 2**53, "m": None, "list": []}


def test_the_root_of_all_errors_is_one():
    from vecstore import errors

    for name in errors.__all__:
        assert issubclass(getattr(errors, name), VecstoreError)
    assert vecstore.VecstoreError is VecstoreError


# Storage


def test_a_folder_that_cannot_be_a_store_is_refused(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(StorageError):
        vecstore.open(file)
    with pytest.raises(StorageError):
        vecstore.open(file / "below")
    with pytest.raises(NotFoundError, match="vecstore init"):
        vecstore.open(tmp_path / "none", create=False)
    assert not (tmp_path / "none").exists()
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "catalog.db").write_bytes(b"this is no database, " * 500)
    with pytest.raises(CorruptFileError, match="not a database"):
        vecstore.open(tmp_path / "junk")
    (tmp_path / "dir" / "catalog.db").mkdir(parents=True)
    with pytest.raises(StorageError):
        vecstore.open(tmp_path / "dir")
    with pytest.raises(InvalidArgumentError, match="gopher"):
        vecstore.open(tmp_path / "cloud", data="gopher://bucket/prefix")
    with pytest.raises(InvalidArgumentError, match="data="):
        vecstore.open("postgresql://host/db")
    for url in ("nonsense://x", "://", "mysql://ann@host/db", "postgresql://host:port/db"):
        with pytest.raises(InvalidArgumentError, match="SQLite or PostgreSQL"):
            vecstore.open(url, data=tmp_path)


def test_a_place_where_no_file_can_be_written_is_a_storage_error(docs, store):
    """A file where the folder should be stops root as well, unlike permissions."""
    directory = store._root.folder / "data" / docs._record.directory
    (directory / "deletes").write_text("")
    with pytest.raises(StorageError, match=r"deletes.*nothing was committed"):
        docs.delete(["a"])
    assert docs.get("a").id == "a"


def test_a_full_disk_is_a_storage_error_and_commits_nothing(tmp_path):
    """The kernel refuses to let files grow, as on a full disk."""
    script = """
import resource, signal, sys, numpy as np, vecstore
from vecstore.errors import StorageError
store = vecstore.open(sys.argv[1])
docs = store.create_collection("docs")
docs.create_space("v", dim=64)
docs.upsert(ids=["a"], vectors=np.ones((1, 64)))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
try:
    docs.upsert(ids=[f"{n}" for n in range(20_000)], vectors=np.random.rand(20_000, 64))
except StorageError as error:
    print("refused:", error)
print("left:", len(docs), docs.version, docs.search(np.ones(64)).ids)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    refused, left = done.stdout.splitlines()
    assert refused.startswith("refused: cannot write ")
    assert left == "left: 1 2 ['a']"
    assert not list(tmp_path.rglob("*.tmp")), "half a file was left behind"


def test_passwords_are_in_no_message(tmp_path, new_database):
    host = new_database().partition("host=")[2]
    urls = [
        "postgresql://ann:s3cr3t@127.0.0.1:1/none",
        f"postgresql://ann:s3cr3t@/none?host={host}",
        f"postgresql+psycopg://postgres:s3cr3t@/none?host={host}&connect_timeout=x",
        "postgresql://127.0.0.1:1/none?user=ann&password=s3cr3t",
        "postgresql://ann:s3cr3t@127.0.0.1:port/none",
        "postgres://ann:s3cr3t@127.0.0.1:1/none",
    ]
    for url in urls:
        with pytest.raises(VecstoreError) as refusal:
            vecstore.open(url, data=tmp_path)
        shown = "".join(traceback.format_exception(refusal.value))
        source = [line for line in shown.splitlines() if "s3cr3t" in line]
        assert source == [], url
    with vecstore.open(
        new_database().replace("postgres:@", "postgres:s3cr3t@"), data=tmp_path
    ) as s:
        assert "s3cr3t" not in repr(s)


def test_an_answer_that_would_not_fit_into_memory_is_refused(docs):
    dim = docs.spaces["v1"].dim
    queries = np.broadcast_to(np.ones(dim, np.float32), (1_001, dim))
    for size in ({"k": 50_000}, {"k": 1, "depth": 50_000}):
        with pytest.raises(InvalidArgumentError, match=r"at most 50,000,000 hits .* 1,001 queries"):
            docs.search(queries, space="v1", **size)


def test_json_of_a_plan_is_plain(docs):
    assert json.loads(json.dumps(docs.explain(space="v1").to_dict()))["sources"][0]["rows"] == 2
