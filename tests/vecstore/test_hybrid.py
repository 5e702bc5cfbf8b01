"""Words beside vectors: BM25 against its formula, one ranking against brute force, a true cache."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest

import vecstore
from vecstore.errors import InvalidArgumentError
from vecstore.lexical import LexicalCache
from vecstore.lexical.cache import _documents
from vecstore.lexical.schema import analyzer
from vecstore.rows import RowSet
from vecstore.search.hybrid import DEFAULT_WEIGHT

DIM = 12
WORDS = [f"w{n}" for n in range(40)]


def texts(n, rng, *, length=(3, 20)):
    """Documents of words whose frequencies fall like Zipf's."""
    shares = 1 / np.arange(1, len(WORDS) + 1)
    return [
        " ".join(rng.choice(WORDS, size=rng.integers(*length), p=shares / shares.sum()))
        for _ in range(n)
    ]


@pytest.fixture
def library(store):
    rng = np.random.default_rng(0)
    docs = store.create_collection("library")
    docs.create_space("v", dim=DIM)
    documents, vectors = texts(300, rng), rng.standard_normal((300, DIM)).astype(np.float32)
    for part in np.array_split(np.arange(300), 4):
        docs.upsert(
            ids=[f"{n:03}" for n in part],
            vectors=vectors[part],
            documents=[documents[n] for n in part],
            metadata={"n": part},
        )
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return docs, documents, vectors, rng


def bm25(query, documents, k1=1.2, b=0.75):
    """Score all documents by Robertson & Zaragoza (2009), with the idf of Lucene."""
    tokens = [analyzer("english").analyze(document) for document in documents]
    lengths = np.array([len(words) for words in tokens])
    scores = np.zeros(len(documents))
    for word in dict.fromkeys(analyzer("english").analyze(query)):
        counts = np.array([words.count(word) for words in tokens])
        found = np.count_nonzero(counts)
        idf = math.log(1 + (len(documents) - found + 0.5) / (found + 0.5))
        saturated = counts * (k1 + 1) / (counts + k1 * (1 - b + b * lengths / lengths.mean()))
        scores += idf * saturated
    return scores


def fused(query, text, documents, vectors, weight=DEFAULT_WEIGHT):
    """Return the hybrid score of every document; all are in the sample that gives the spread."""
    near, words = vectors @ (query / np.linalg.norm(query)), bm25(text, documents)
    return near + weight * near.std() * words / max(words.max(), 1e-9)


# BM25


def test_scores_are_those_of_the_formula(library):
    docs, documents, _, rng = library
    index = LexicalCache(None).of(docs.latest().snapshot, language="english")
    for query in texts(20, rng, length=(1, 6)):
        expected = bm25(query, documents)
        hits = index.search([query], 300, allowed=index.rows)
        rows = hits.row_ids[0][hits.row_ids[0] >= 0]
        assert set(rows) == set(np.flatnonzero(expected > 0))
        np.testing.assert_allclose(hits.scores[0, : len(rows)], expected[rows], rtol=1e-5)
        assert hits.best[0] == pytest.approx(expected.max(), rel=1e-5)
        given = rng.permutation(300)[:50]
        np.testing.assert_allclose(index.score([query], given[None])[0], expected[given], rtol=1e-5)


@pytest.mark.parametrize("allowed", [1, 5, 60, 299])
def test_a_filter_takes_rows_out_and_changes_no_score(library, allowed):
    docs, documents, _, rng = library
    index = LexicalCache(None).of(docs.latest().snapshot, language="english")
    kept = np.sort(rng.permutation(300)[:allowed])
    hits = index.search(["w0 w1 w2"], 10, allowed=RowSet.of(kept))
    expected = bm25("w0 w1 w2", documents)
    inside = kept[np.lexsort((kept, -np.round(expected[kept], 5)))]
    inside = inside[expected[inside] > 0][:10]
    found = hits.row_ids[0][hits.row_ids[0] >= 0]
    np.testing.assert_allclose(expected[found], expected[inside], rtol=1e-5)
    assert np.isin(found, kept).all()
    assert hits.best[0] == pytest.approx(expected.max(), rel=1e-5)


def test_words_meet_whatever_their_case_accents_and_endings(store):
    docs = store.create_collection("d")
    docs.upsert(ids=["a", "b"], documents=["Running Zürich", "nothing of the kind"])
    index = LexicalCache(None).of(docs.latest().snapshot, language="english")
    assert index.search(["zurich RUNS"], 1, allowed=index.rows).row_ids.tolist() == [[0]]
    assert index.search(["", "?!", "absent"], 1, allowed=index.rows).row_ids.max() == -1
    plain = LexicalCache(None).of(docs.latest().snapshot, language="none")
    assert plain.search(["runs"], 1, allowed=plain.rows).row_ids.tolist() == [[-1]]


# One ranking


@pytest.mark.parametrize("weight", [0.0, 0.5, DEFAULT_WEIGHT, 50.0])
def test_a_hybrid_search_is_brute_force_over_both_scores(library, weight):
    docs, documents, vectors, rng = library
    queries, asked = rng.standard_normal((8, DIM)).astype(np.float32), texts(8, rng)
    result = docs.search(queries, text=asked, k=10, lexical=weight)
    for number, (query, text) in enumerate(zip(queries, asked, strict=True)):
        expected = fused(query, text, documents, vectors, weight)
        np.testing.assert_allclose(
            result.scores[number], np.sort(expected)[::-1][:10], rtol=2e-4, atol=2e-4
        )
        found = [int(name) for name in result.ids[number]]
        np.testing.assert_allclose(expected[found], result.scores[number], rtol=2e-4, atol=2e-4)


def test_no_words_is_the_search_without_them(library):
    docs, _, _, rng = library
    queries = rng.standard_normal((5, DIM)).astype(np.float32)
    plain = docs.search(queries, k=7)
    for result in (
        docs.search(queries, text=["w1"] * 5, k=7, lexical=0),
        docs.search(queries, text=["", "?", "absent", "zzz", "-"], k=7),
    ):
        assert np.array_equal(result.ids, plain.ids)
        np.testing.assert_allclose(result.scores, plain.scores, atol=1e-6)


def test_a_filter_holds_for_words_too(library):
    docs, _, _, rng = library
    query = rng.standard_normal(DIM).astype(np.float32)
    hits = docs.search(query, text="w0 w1", k=20, where="n >= 290")
    assert sorted(hit.metadata["n"] for hit in hits) == list(range(290, 300))


def test_items_without_a_vector_are_not_found_by_words(library):
    docs, _, _, rng = library
    docs.upsert(ids=["bare"], documents=["w39 w38 w37"])
    hits = docs.search(rng.standard_normal(DIM).astype(np.float32), text="w39 w38 w37", k=300)
    assert len(hits) == 300
    assert "bare" not in hits.ids


def test_a_bad_weight_is_refused(library):
    docs, _, _, rng = library
    for weight in (-1.0, float("nan"), "much"):
        with pytest.raises(InvalidArgumentError, match="lexical"):
            docs.search(rng.standard_normal(DIM), text="w1", lexical=weight)


# The cache


def test_what_is_written_deleted_or_replaced_shows_at_once(library):
    docs, _, vectors, _ = library
    assert docs.search(vectors[0], text="fresh", k=1, lexical=1e4).ids == ["000"]
    docs.upsert(ids=["new"], vectors=[-vectors[0]], documents=["fresh"])
    assert docs.search(vectors[0], text="fresh", k=1, lexical=1e4).ids == ["new"]
    docs.upsert(ids=["new"], vectors=[-vectors[0]], documents=["stale"])
    assert docs.search(vectors[0], text="fresh", k=1, lexical=1e4).ids == ["000"]
    assert docs.search(vectors[0], text="stale", k=1, lexical=1e4).ids == ["new"]
    before = docs.version
    docs.delete(["new"])
    assert docs.search(vectors[0], text="stale", k=1, lexical=1e4).ids == ["000"]
    assert docs.at(before).search(vectors[0], text="stale", k=1, lexical=1e4).ids == ["new"]


def test_only_what_is_new_is_read_and_added(library, monkeypatch):
    docs, _, vectors, _ = library
    read = []

    def watched(snapshot, row_ids):
        read.extend(row_ids.tolist())
        return _documents(snapshot, row_ids)

    monkeypatch.setattr("vecstore.lexical.cache._documents", watched)
    docs.search(vectors[0], text="w1")
    assert len(read) == 300
    before = docs.version
    docs.search(vectors[0], text="w2")
    docs.delete(["001", "002"])
    docs.search(vectors[0], text="w2")
    assert len(read) == 300
    docs.upsert(ids=["000", "new"], vectors=vectors[:2], documents=["w1", "w2"])
    docs.search(vectors[0], text="w2")
    assert len(read) == 302
    docs.at(before).search(vectors[0], text="w1")
    assert len(read) == 302, "what died since is still there"


def test_an_index_of_mostly_dead_rows_begins_anew(library, tmp_path):
    docs, documents, vectors, _ = library
    for _ in range(3):
        docs.upsert(ids=[f"{n:03}" for n in range(300)], vectors=vectors, documents=documents)
        docs.search(vectors[0], text="w1")
    index = LexicalCache(tmp_path / "store" / "data" / docs._record.directory / "lexical").of(
        docs.latest().snapshot, language="english"
    )
    assert np.array_equal(index.rows.to_array(), docs.latest().snapshot.live.to_array())


def test_an_index_is_kept_from_one_process_to_the_next(library, tmp_path):
    docs, _, vectors, _ = library
    docs.search(vectors[0], text="w1")
    [folder] = (tmp_path / "store" / "data").glob("*/lexical/english-*")
    files = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.term")}
    with vecstore.open(tmp_path / "store") as again:
        again.collection("library").search(vectors[0], text="w1")
    assert files == {path.name: path.stat().st_mtime_ns for path in folder.glob("*.term")} != {}


@pytest.mark.parametrize("damage", ["gone", "emptied", "garbage", "a file"])
def test_a_damaged_index_is_built_again(library, tmp_path, damage):
    docs, _, vectors, _ = library
    expected = docs.search(vectors[0], text="w1 w5", k=5).ids
    [folder] = (tmp_path / "store" / "data").glob("*/lexical/english-*")
    if damage == "gone":
        shutil.rmtree(folder)
    elif damage == "a file":
        shutil.rmtree(folder)
        folder.write_text("not an index")
    else:
        for path in folder.iterdir():
            path.write_bytes(b"" if damage == "emptied" else b"garbage" * 100)
    with vecstore.open(tmp_path / "store") as again:
        assert again.collection("library").search(vectors[0], text="w1 w5", k=5).ids == expected


def test_processes_that_build_at_once_agree(library, tmp_path):
    docs, *_ = library
    script = (
        "import sys, numpy as np, vecstore\n"
        "with vecstore.open(sys.argv[1]) as store:\n"
        "    docs = store.collection('library')\n"
        "    print(docs.search(np.eye(1, 12)[0], text='w1 w5', k=8).ids)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "store")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(3)]
    answers = {process.communicate(timeout=60)[0] for process in running}
    assert all(process.returncode == 0 for process in running)
    assert answers == {f"{docs.search(np.eye(1, DIM)[0], text='w1 w5', k=8).ids}\n".encode()}


def test_threads_search_while_others_write(library):
    docs, _, vectors, _ = library
    failures = []

    def write():
        for number in range(10):
            docs.upsert(ids=[f"t{number}"], vectors=[vectors[number]], documents=["thread words"])

    def read():
        try:
            for _ in range(20):
                assert len(docs.search(vectors[0], text="thread words w1", k=5)) == 5
        except Exception as error:  # noqa: BLE001 - shown by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=target) for target in (write, read, read)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert docs.search(-vectors[0], text="thread", k=10, lexical=1e4).ids[0].startswith("t")
