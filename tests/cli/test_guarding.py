"""The guard on the command line: refused with an exit code, or one line on stderr."""

from __future__ import annotations

import numpy as np
import pytest

import vecstore
from tests.planted import DIM, Model


@pytest.fixture
def place(tmp_path):
    """A store with two spaces of one dimension, and a file of the second one's vectors."""
    with vecstore.open(tmp_path / "store") as store:
        docs = store.create_collection("docs")
        for number, name in enumerate(("v1", "v2")):
            docs.create_space(name, dim=DIM)
            ids = [f"{name}-{n}" for n in range(100)]
            docs.upsert(ids=ids, vectors=Model(number).embed(100), space=name)
    np.save(tmp_path / "wrong.npy", Model(1).embed(40, start=5))
    return tmp_path


def test_ingest_into_the_wrong_space_ends_with_code_4_unless_overruled(place, run):
    command = ("ingest", str(place / "store"), str(place / "wrong.npy"), "--ids", "rows")
    refused = run(*command, "--space", "v1")
    assert refused.exit_code == 4
    assert "Error: vectors for space 'v1' are those of space 'v2'" in refused.stderr
    warned = run(*command, "--space", "v1", "--guard", "warn")
    assert warned.exit_code == 0
    assert "40 rows written" in warned.stdout
    [line] = warned.stderr.splitlines()
    assert line.startswith("Warning: vectors for space 'v1' are those of space 'v2'")
    silent = run(*command, "--space", "v1", "--guard", "off")
    assert (silent.exit_code, silent.stderr) == (0, "")
