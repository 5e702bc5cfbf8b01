"""What an assessment says is what a search does: every option, simulated and for real.

The sample is the whole collection, so that the two must agree to rounding. The metric of the
searches is computed by ir_measures, from ids.
"""

from __future__ import annotations

import ir_measures
import numpy as np
import pytest
from ir_measures import nDCG

from tests.vecstore.upgrade_examples import figures, planted
from vecstore.upgrade import simulation

N, QUERIES, PAIRS, K, WEIGHT = 500, 100, 150, 10, 4.0


def ndcg(result, data, gains=None) -> float:
    """Return the mean nDCG@10 of a search, by ir_measures."""
    judged = gains or [{answer: 1} for answer in data.qrels]
    qrels = [
        ir_measures.Qrel(f"q{n}", item, int(gain))
        for n, answers in enumerate(judged)
        for item, gain in answers.items()
    ]
    run = [
        # ir_measures breaks ties by id; places are what counts here.
        ir_measures.ScoredDoc(f"q{n}", item, -float(place))
        for n, hits in enumerate(result)
        for place, item in enumerate(hits.ids)
    ]
    return float(ir_measures.calc_aggregate([nDCG @ K], qrels, run)[nDCG @ K])


@pytest.fixture(scope="module", params=["cosine", "l2"])
def both(request, tmp_path_factory):
    """Return planted data, the figures of an assessment, and a way to search for real."""
    import vecstore

    data = planted(n=N, queries=QUERIES, noise=(0.9, 0.35))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulation, "WEIGHTS", (WEIGHT,))
        with vecstore.open(tmp_path_factory.mktemp("store")) as store:
            docs = data.write(store, pairs=PAIRS, metric=request.param)
            assessed = docs.assess_upgrade(
                source="v1", target="v2", queries=data.queries(), qrels=data.qrels,
                encoder=data.encoder(), sample=N, depths=[K, 25], family="ridge", commit=False,
            )  # fmt: skip
            assert docs.spaces["v2"].native == PAIRS
            docs.fit_translator(source="v1", target="v2", family="ridge", queries=data.asked_new)
            docs.fit_translator(
                source="v2", target="v1", side="queries", family=["procrustes", "ridge"]
            )
            yield data, assessed, docs


SEARCHES = {
    "stay": {"space": "v1"},
    "stay+lexical": {"space": "v1", "lexical": WEIGHT},
    "query-side": {"space": "v2", "execution": "query"},
    "query-side+lexical": {"space": "v2", "execution": "query", "lexical": WEIGHT},
    "forward": {"space": "v2"},
    "forward+lexical": {"space": "v2", "lexical": WEIGHT},
    "cascade@10": {"space": "v2", "depth": 10},
    "cascade@25": {"space": "v2", "depth": 25},
    "cascade@25+lexical": {"space": "v2", "depth": 25, "lexical": WEIGHT},
}


@pytest.mark.parametrize("option", SEARCHES)
def test_an_option_reaches_in_a_search_what_the_assessment_says(both, option):
    data, assessed, docs = both
    how = {"lexical": 0.0, "k": K} | SEARCHES[option]
    if "depth" in how:
        how |= {"encoder": data.encoder(), "commit": False}
    asked = data.asked_old if how["space"] == "v1" else data.asked_new
    real = ndcg(docs.search(asked, text=data.questions, **how), data)
    assert 0.1 < real < 0.95
    assert figures(assessed)[option] == pytest.approx(real, abs=2e-4)


def test_a_full_re_embed_reaches_in_a_search_what_the_assessment_says(both, store):
    data, assessed, _ = both
    metric = both[2].spaces["v2"].metric
    full = data.write(store, pairs=N, metric=metric)
    for option, weight in (("re-embed", 0.0), ("re-embed+lexical", WEIGHT)):
        found = full.search(data.asked_new, text=data.questions, space="v2", lexical=weight, k=K)
        assert figures(assessed)[option] == pytest.approx(ndcg(found, data), abs=2e-4)


def test_options_differ_enough_for_an_agreement_to_mean_something(both):
    found = figures(both[1])
    values = np.sort([found[name] for name in ("re-embed", *SEARCHES)])
    assert np.diff(values).min() > 4e-4, found


def test_gains_count_as_they_were_given(both, store):
    data, _, docs = both
    rng = np.random.default_rng(5)
    gains = [
        {answer: 3.0, data.ids[int(rng.integers(QUERIES, N))]: 1.0, "absent": 2.0}
        for answer in data.qrels
    ]
    assessed = docs.assess_upgrade(
        source="v1", target="v2", queries=data.queries(), qrels=gains, encoder=data.encoder(),
        sample=N, family="ridge", commit=False, depths=[],
    )  # fmt: skip
    known = [{item: gain for item, gain in each.items() if item != "absent"} for each in gains]
    real = ndcg(docs.search(data.asked_old, space="v1", k=K), data, known)
    assert figures(assessed)["stay"] == pytest.approx(real, abs=2e-4)
