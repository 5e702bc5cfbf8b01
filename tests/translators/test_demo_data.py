"""On the shipped dictionary, selection reaches what exact search has measured before."""

from __future__ import annotations

from importlib.resources import as_file, files

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from vecstore_translators import Procrustes, Ridge, select_translator, unit_rows
from vecstore_translators.evaluation import ndcg_at_k, top_k


def vectors(table: object, name: str) -> NDArray[np.float32]:
    column = table[name].combine_chunks()  # type: ignore[index]
    return unit_rows(column.values.to_numpy().reshape(len(column), -1))


@pytest.fixture(scope="module")
def dictionary() -> dict[str, NDArray[np.float32]]:
    with as_file(files("vecstore_cli") / "demo_data") as folder:
        items = pq.read_table(folder / "wordnet_items.parquet")
        asked = pq.read_table(folder / "wordnet_queries.parquet")
    place = {name: i for i, name in enumerate(items["id"].to_pylist())}
    relevant = [place[name] for name in asked["relevant_id"].to_pylist()]
    return {
        "old": vectors(items, "static256"),
        "new": vectors(items, "minilm384"),
        "queries": vectors(asked, "minilm384"),
        "relevant": np.array(relevant),
    }


def test_forward_selection_from_500_pairs(dictionary: dict[str, NDArray[np.float32]]) -> None:
    old, new = dictionary["old"], dictionary["new"]
    selection = select_translator(old[400:900], new[400:900], families=[Procrustes(), Ridge()])
    ranking, _ = top_k(dictionary["queries"], selection.translator.translate(old), 10)
    assert ndcg_at_k(ranking, dictionary["relevant"]).mean() > 0.385
    assert selection.family.name == "ridge"
    assert selection.gain is not None
    assert selection.gain.low > 0.15


def test_query_side_selection_from_500_pairs(
    dictionary: dict[str, NDArray[np.float32]],
) -> None:
    old, new = dictionary["old"], dictionary["new"]
    selection = select_translator(
        new[400:900], old[400:900], side="queries", families=Procrustes.candidates()
    )
    queries = selection.translator.translate(dictionary["queries"])
    ranking, _ = top_k(queries, old, 10)
    assert ndcg_at_k(ranking, dictionary["relevant"]).mean() > 0.355
