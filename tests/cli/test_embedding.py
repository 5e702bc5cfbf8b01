"""Texts on the command line: spaces with an encoder, plain documents in, words as queries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.ingest.embedding_server import Reply, embedding, embedding_server

SHOP = "shop.vecstore"
KEY = "sk-not-to-be-seen"
CREATE = ["space", "create", SHOP, "v3", "--encoder", "vectors:items.parquet?model=m"]


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("VECSTORE_API_KEY_127_0_0_1", KEY)
    with embedding_server() as running:
        yield running


@pytest.fixture
def papers(shop: Path, run: Any, server: Any) -> None:
    """A second collection whose only space has an encoder."""
    (shop / "papers.jsonl").write_text(
        "".join(json.dumps({"id": f"d{n}", "text": f"text {n}"}) + "\n" for n in range(12))
    )
    assert run("collection", "create", SHOP, "papers").exit_code == 0
    made = run(
        "space", "create", SHOP, "v1", "-c", "papers",
        "--encoder", f"openai:small?base_url={server.url}", "--query-prompt", "query: ",
        "--model", "small-model", "--revision", "r",
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    assert "6 dimensions" in made.stdout


def expected(query: str) -> list[str]:
    vectors = np.array([embedding(f"text {n}") for n in range(12)])
    scores = vectors @ np.array(embedding(query)) / np.linalg.norm(vectors, axis=1)
    return [f"d{n}" for n in np.argsort(-scores)]


def test_a_space_remembers_its_encoder_and_no_key(papers: None, json_of: Any, shop: Path) -> None:
    [space] = json_of("space", "list", SHOP, "-c", "papers")
    assert space["encoder"].startswith("openai:small?base_url=http://127.0.0.1:")
    assert (space["model"], space["revision"], space["dim"]) == ("small-model", "r", 6)
    assert all(KEY.encode() not in path.read_bytes() for path in shop.rglob("*") if path.is_file())


def test_plain_documents_and_words_need_no_vectors(
    papers: None, run: Any, json_of: Any, server: Any
) -> None:
    done = json_of("ingest", SHOP, "papers.jsonl", "-c", "papers")
    assert done["rows_written"] == 12
    [space] = json_of("space", "list", SHOP, "-c", "papers")
    assert space["native"] == 12
    found = json_of("search", SHOP, "-c", "papers", "--text", "something", "-k", "12")
    assert server.bodies[-1]["input"] == ["query: something"]
    assert server.headers[-1]["authorization"] == f"Bearer {KEY}"
    assert [hit["id"] for hit in found["queries"][0]["hits"]] == expected("query: something")
    batch = json_of(
        "search", SHOP, "-c", "papers", "--text", "-", "--text", "third", "-k", "12",
        stdin="first\nsecond\n",
    )  # fmt: skip
    for query, answer in zip(["first", "second", "third"], batch["queries"], strict=True):
        assert [hit["id"] for hit in answer["hits"]] == expected(f"query: {query}")


def test_an_endpoint_that_refuses_ends_with_its_own_code(
    papers: None, run: Any, server: Any
) -> None:
    server.always = lambda body: Reply(status=403, body={"error": {"message": f"no, {KEY}"}})
    for line in (
        ("search", SHOP, "-c", "papers", "--text", "x"),
        ("ingest", SHOP, "papers.jsonl", "-c", "papers"),
    ):
        result = run(*line)
        assert result.exit_code == 7
        assert "HTTP 403: no, ***" in result.stderr
        assert KEY not in result.output


@pytest.mark.parametrize(
    ("code", "line", "said"),
    [
        (1, ["search", SHOP, "--space", "v1", "--text", "x"], "use_encoder"),
        (2, ["space", "create", SHOP, "v3"], "--encoder"),
        (3, ["space", "create", SHOP, "v3", "--encoder", "nothing:m"], "openai, python"),
        (4, ["space", "create", SHOP, "v3", "--encoder", "m"], "scheme:name"),
        (4, ["space", "create", SHOP, "v3", "--encoder", "vectors:items.parquet"], "model"),
        (
            4,
            [*CREATE, "--pooling", "mean"],
            "pooling",
        ),
        (
            4,
            [*CREATE, "--dim", "9"],
            "3 dimensions",
        ),
    ],
)
def test_what_cannot_embed_is_refused(
    code: int, line: list[str], said: str, shop: Path, run: Any
) -> None:
    result = run(*line)
    assert result.exit_code == code, result.output
    assert said in result.stderr
    assert result.stdout == ""
