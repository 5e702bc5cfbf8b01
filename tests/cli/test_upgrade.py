"""`vecstore upgrade assess`: files in, a decision out, an exit code that a pipeline can trust."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.ingest.embedding_server import Reply, embedding_server
from vecstore_cli.errors import BELOW_RETENTION

ASSESS = ("upgrade", "assess", "shop.vecstore", "--source", "v1", "--target", "v2")
JUDGED = (*ASSESS, "--queries", "asked.jsonl", "--qrels", "qrels.txt")


def figures(found: dict[str, Any]) -> dict[str, float]:
    return {option["name"]: option["quality"]["mean"] for option in found["options"]}


def test_without_queries_documents_ask_and_it_says_so(shop: Path, json_of: Any, run: Any) -> None:
    found = json_of(*ASSESS)
    assert (found["metric"], found["queries"], found["sample"]) == ("overlap", 40, 40)
    assert "documents" in found["asked"]
    assert figures(found)["re-embed"] == 1.0
    # The second model is a rotation of the first, so nothing is gained and nothing is lost.
    assert figures(found)["forward"] > 0.85 > figures(found)["naive"]
    printed = run(*ASSESS).stdout
    assert "held-out documents in the place of queries" in printed
    assert "recommended: " in printed


def test_every_form_of_queries_and_judgements_gives_the_same_figures(
    shop: Path, json_of: Any, planted: dict[str, np.ndarray]
) -> None:
    expected = json_of(*JUDGED)
    assert (expected["metric"], expected["queries"], expected["items"]) == ("ndcg", 24, 80)
    rows = [json.loads(line) for line in Path("asked.jsonl").read_text().splitlines()]
    pq.write_table(pa.Table.from_pylist(rows), "asked.parquet")
    Path("beir.tsv").write_text(
        "query-id\tcorpus-id\tscore\n" + "".join(f"q{n}\tp{n}\t1\n" for n in range(24))
    )
    Path("plain.txt").write_text("".join(f"q{n} p{n} 1\n" for n in range(24)))
    Path("judged.jsonl").write_text(
        "".join(json.dumps({"query": f"q{n}", "item": f"p{n}"}) + "\n" for n in range(24))
    )
    for queries in ("asked.jsonl", "asked.parquet"):
        for qrels in ("qrels.txt", "beir.tsv", "plain.txt", "judged.jsonl"):
            found = json_of(*ASSESS, "--queries", queries, "--qrels", qrels)
            assert found["options"] == expected["options"], (queries, qrels)
    stdin = Path("asked.jsonl").read_text()
    piped = json_of(*ASSESS, "--queries", "-", "--qrels", "qrels.txt", stdin=stdin)
    assert piped["options"] == expected["options"]


def test_a_matrix_holds_vectors_of_the_new_space_whose_queries_are_numbered(
    shop: Path, json_of: Any, planted: dict[str, np.ndarray]
) -> None:
    np.save("new-queries.npy", planted["v2"][:24])
    Path("numbers.txt").write_text("".join(f"{n} 0 p{n} 1\n" for n in range(24)))
    found = json_of(*ASSESS, "--queries", "new-queries.npy", "--qrels", "numbers.txt")
    full = figures(json_of(*JUDGED))
    # No old vectors, so staying is not measured; no texts, so neither are words.
    assert set(figures(found)) == {
        "naive", "query-side", "forward", "cascade@20", "cascade@50", "cascade@100", "re-embed",
    }  # fmt: skip
    assert {name: full[name] for name in figures(found)} == figures(found)
    assert "old model was not measured" in found["recommendation"]["reason"]


def test_too_little_retention_has_an_exit_code_of_its_own(shop: Path, run: Any) -> None:
    good = run(*ASSESS, "--min-retention", "0.5", "--budget", "0")
    assert good.exit_code == 0
    bad = run(*ASSESS, "--min-retention", "1.01", "--json")
    assert bad.exit_code == BELOW_RETENTION == 8
    assert json.loads(bad.stdout)["recommendation"]["retention"] < 1.01
    assert "is below 1.01" in bad.stderr


def test_a_budget_of_nothing_recommends_what_embeds_nothing_first(shop: Path, json_of: Any) -> None:
    found = json_of(*ASSESS, "--budget", "0")
    chosen = {option["name"]: option for option in found["options"]}[
        found["recommendation"]["option"]
    ]
    assert chosen["cost"]["documents"] == 0
    assert found["recommendation"]["option"] != "naive"


def test_the_report_is_written_beside_the_result(shop: Path, run: Any) -> None:
    result = run(*JUDGED, "--report", "out.html", "--depth", "30", "--price", "0.1", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert "report written to out.html" in result.stderr
    page = Path("out.html").read_text("utf-8")
    assert page.startswith("<!doctype html>")
    for option in found["options"]:
        assert f"{option['quality']['mean']:.3f}" in page
    assert "cascade@30" in figures(found)
    assert "cascade@20" not in figures(found)
    full = next(option for option in found["options"] if option["name"] == "re-embed")
    assert full["cost"]["documents"] == 40
    assert full["cost"]["price"] == pytest.approx(full["cost"]["tokens"] / 1e6 * 0.1)


@pytest.mark.parametrize(
    ("code", "line", "said"),
    [
        (2, [*ASSESS, "--qrels", "qrels.txt"], "--queries"),
        (3, ["upgrade", "assess", "shop.vecstore", "--source", "v1", "--target", "v9"], "'v9'"),
        (4, ["upgrade", "assess", "shop.vecstore", "--source", "v1", "--target", "v1"], "twice"),
        (4, [*ASSESS, "--queries", "absent.jsonl"], "no such file"),
        (4, [*ASSESS, "--queries", "new.txt"], "format"),
        (4, [*ASSESS, "--queries", "bad.jsonl"], "query 6"),
        (4, [*ASSESS, "--queries", "asked.jsonl", "--qrels", "new.txt"], "line 1"),
        (4, [*ASSESS, "--queries", "asked.jsonl", "--qrels", "asked.jsonl"], '"query"'),
        (4, [*ASSESS, "--queries", "queries.npy", "--qrels", "qrels.txt"], "numbers from 0"),
        (4, [*ASSESS, "--sample", "-1"], "sample"),
        (4, [*ASSESS, "--budget", "1.5"], "budget"),
        (4, [*ASSESS, "--where", "price > 1000"], "matches nothing"),
        (6, [*JUDGED, "--report", "no/folder.html"], "no/folder.html"),
    ],
)
def test_what_cannot_be_assessed_is_refused_by_what_is_wrong(
    code: int, line: list[str], said: str, shop: Path, run: Any
) -> None:
    result = run(*line)
    assert result.exit_code == code, result.output
    assert said in result.stderr
    assert result.stdout == ""


def test_texts_and_endpoints_are_enough_and_nothing_is_embedded_twice(
    shop: Path, run: Any, json_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VECSTORE_API_KEY_127_0_0_1", "sk-test")
    for name, rows in (
        ("papers.jsonl", [{"id": f"d{n}", "text": f"text {n}"} for n in range(60)]),
        ("words.jsonl", [{"query": f"text {n} please"} for n in range(8)]),
        ("answers.jsonl", [{"query": str(n), "item": f"d{n}"} for n in range(8)]),
    ):
        Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    with embedding_server() as server:
        assert run("collection", "create", "shop.vecstore", "papers").exit_code == 0
        for space in ("v1", "v2"):
            address = f"openai:{space}-model?base_url={server.url}"
            made = run("space", "create", "shop.vecstore", space, "-c", "papers",
                       "--encoder", address)  # fmt: skip
            assert made.exit_code == 0, made.output
            if space == "v1":
                done = run("ingest", "shop.vecstore", "papers.jsonl", "-c", "papers")
                assert done.exit_code == 0, done.output
        before = len(server.bodies)
        line = (
            *ASSESS, "-c", "papers", "--queries", "words.jsonl", "--qrels", "answers.jsonl",
            "--sample", "40", "--family", "procrustes",
        )  # fmt: skip
        found = json_of(*line)
        assert (found["sample"], found["embedded"], found["metric"]) == (40, 40, "ndcg")
        sent = [
            (body["model"], text)
            for body in server.bodies[before:]
            for text in body["input"]
            if not text.endswith("please")
        ]
        assert len(sent) == len(set(sent)) == 40
        assert {model for model, _ in sent} == {"v2-model"}
        # Both embed alike, so words aside nothing can be gained.
        assert figures(found)["stay"] == figures(found)["re-embed"] == figures(found)["naive"]
        native = {
            space["name"]: space["native"]
            for space in json_of("space", "list", "shop.vecstore", "-c", "papers")
        }
        assert native == {"v1": 60, "v2": 40}
        server.always = lambda body: Reply(status=403, body={"error": {"message": "no"}})
        refused = run(*line)
        assert refused.exit_code == 7
        assert "HTTP 403" in refused.stderr
