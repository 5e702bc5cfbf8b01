"""Jobs whose vectors are of another space: refused with what is committed, and resumable."""

from __future__ import annotations

import numpy as np
import pytest

from tests.planted import DIM, Model
from vecstore import SuspiciousVectorsWarning
from vecstore.errors import InvalidArgumentError, SpaceMismatchError
from vecstore_ingest import Source, ingest

ROWS = 100


@pytest.fixture
def docs(store):
    """A collection with two spaces of one dimension, and 100 items in each."""
    docs = store.create_collection("guarded")
    for number, name in enumerate(("v1", "v2")):
        docs.create_space(name, dim=DIM)
        ids = [f"{name}-{n}" for n in range(ROWS)]
        docs.upsert(ids=ids, vectors=Model(number).embed(ROWS), space=name)
    return docs


@pytest.fixture
def switched(tmp_path):
    """A file whose first 200 vectors are of the first model, and the last 100 of the other."""
    vectors = np.vstack([Model(0).embed(200, start=1), Model(1).embed(100, start=2)])
    np.save(tmp_path / "switched.npy", vectors)
    return Source(path=str(tmp_path / "switched.npy"), ids="rows")


def test_a_job_stops_at_the_batch_of_another_space_and_can_go_on(docs, switched):
    job = {"space": "v1", "batch_rows": 50}
    with pytest.raises(SpaceMismatchError, match="are those of space 'v2'") as caught:
        ingest(docs, switched, **job)
    assert str(caught.value).endswith("200 rows of this job are committed")
    assert docs.spaces["v1"].native == ROWS + 200
    with pytest.warns(SuspiciousVectorsWarning, match="are those of space 'v2'"):
        report = ingest(docs, switched, guard="warn", **job)
    assert (report.resumed_from, report.rows_written) == (200, 300)
    assert docs.spaces["v1"].native == ROWS + 300


def test_skipping_bad_rows_does_not_skip_a_wrong_space(docs, switched, tmp_path):
    rejects = tmp_path / "rejects.jsonl"
    with pytest.raises(SpaceMismatchError):
        ingest(docs, switched, space="v1", batch_rows=50, on_error="skip", rejects=rejects)
    assert docs.spaces["v1"].native == ROWS + 200


def test_the_guard_can_be_off_and_must_be_one_of_three(docs, switched):
    assert ingest(docs, switched, space="v1", guard="off").rows_written == 300
    with pytest.raises(InvalidArgumentError, match="guard to be one of refuse, warn, off"):
        ingest(docs, switched, space="v1", guard="maybe")
