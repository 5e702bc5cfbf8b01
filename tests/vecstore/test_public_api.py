"""The public names are those of __all__: documented, typed, keyword-only after the subject."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import vecstore
from vecstore.reading import Readable

NAMES = sorted(set(vecstore.__all__) - {"__version__"})
POSITIONAL = {
    # What a call is about comes first and may be given by position; all else has a name.
    "open": ["place"],
    "restore": ["place", "into"],
    "Store.backup": ["place"],
    "Store.create_collection": ["name"],
    "Store.collection": ["name"],
    "Store.rename_collection": ["name", "new_name"],
    "Store.drop_collection": ["name"],
    "Collection.at": ["version"],
    "Collection.create_space": ["name"],
    "Collection.drop_space": ["name"],
    "Collection.switch_space": ["space"],
    "Collection.retire_space": ["name"],
    "Collection.use_encoder": ["space", "encoder"],
    "Collection.delete": ["ids"],
    "Collection.checkpoint": ["job"],
    "Collection.clear_checkpoint": ["job"],
    "Collection.drop_translator": ["translator_id"],
    "Collection.drop_index": ["index_id"],
    **{
        f"{reader}.{method}": [subject]
        for reader in ("Collection", "CollectionVersion")
        for method, subject in {"count": "where", "get": "ids", "search": "vectors"}.items()
    },
    "SearchResult.provenance": ["query"],
    "UpgradeAssessment.option": ["name"],
    "Space.require_same": ["other"],
    "Space.require_model": ["model", "revision"],
    "Space.prepare": ["vectors"],
    "Space.prepare_queries": ["vectors"],
    "Space.takes": ["query"],
    "Encoder.encode_documents": ["texts"],
    "Encoder.encode_queries": ["texts"],
}


def public_methods():
    for name in NAMES:
        thing = getattr(vecstore, name)
        if not inspect.isclass(thing):
            yield name, thing
            continue
        for method, value in inspect.getmembers(thing, inspect.isfunction):
            if not method.startswith("_") and value.__module__.startswith("vecstore"):
                yield f"{name}.{method}", value


METHODS = dict(public_methods())


def test_the_namespace_is_exactly_what_it_says():
    assert len(vecstore.__all__) == len(set(vecstore.__all__))
    visible = {name for name in vars(vecstore) if not name.startswith("_")}
    modules = {name for name in visible if inspect.ismodule(getattr(vecstore, name))}
    assert visible - modules == set(NAMES)
    assert all(hasattr(vecstore, name) for name in vecstore.__all__)
    # The rooms are modules below; none of them hides a public name, nor the other way round.
    assert modules.isdisjoint(vecstore.__all__)


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_says_what_it_is(name):
    thing = getattr(vecstore, name)
    assert inspect.getdoc(thing), name
    assert thing.__module__.startswith("vecstore")
    if dataclasses.is_dataclass(thing):
        parameters = thing.__dataclass_params__
        assert parameters.frozen, f"{name} is a value"
        assert all(field.kw_only for field in dataclasses.fields(thing)), name
        assert "__slots__" in vars(thing), name


@pytest.mark.parametrize("name", METHODS)
def test_every_public_method_is_documented_and_takes_names_after_its_subject(name):
    function = METHODS[name]
    assert inspect.getdoc(function), name
    signature = inspect.signature(function)
    parameters = [p for p in signature.parameters.values() if p.name != "self"]
    positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == POSITIONAL.get(name, []), name
    assert not any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters), name
    assert signature.return_annotation is not signature.empty, name
    assert all(p.annotation is not p.empty for p in parameters), name


def test_every_public_property_is_documented():
    for name in NAMES:
        thing = getattr(vecstore, name)
        for attribute, value in vars(thing).items() if inspect.isclass(thing) else ():
            if isinstance(value, property) and not attribute.startswith("_"):
                assert value.__doc__, f"{name}.{attribute}"


def test_collections_and_versions_read_alike():
    assert issubclass(vecstore.Collection, Readable)
    assert issubclass(vecstore.CollectionVersion, Readable)
    verbs = {name for name in vars(Readable) if not name.startswith("_")}
    assert {"search", "get", "scan", "count", "explain", "spaces", "version"} <= verbs
    for verb in verbs:
        assert verb not in vars(vecstore.CollectionVersion), verb


def test_the_example_of_the_design_runs_as_it_is_written(tmp_path):
    script = Path(tmp_path) / "example.py"
    script.write_text(
        """
import numpy as np, vecstore
rng = np.random.default_rng(0)
latent = rng.standard_normal((300, 8))
X, Y = latent @ rng.standard_normal((8, 24)), latent @ rng.standard_normal((8, 32))
ids, texts = [f"p{i}" for i in range(300)], [f"text {i}" for i in range(300)]

class Encoder:
    name, revision, dim = "all-mpnet-base-v2", None, 32
    profile = vecstore.EncodingProfile()
    def encode_documents(self, texts): return Y[[int(t.split()[1]) for t in texts]]
    def encode_queries(self, texts): raise NotImplementedError

with vecstore.open("shop.vecstore") as store:
    docs = store.create_collection("products")
    docs.create_space("v1", dim=24, metric="cosine", model="all-MiniLM-L6-v2")
    docs.upsert(
        ids=ids, vectors=X, space="v1", documents=texts, metadata={"price": list(range(300))}
    )
    docs.create_space("v2", dim=32, metric="cosine", model="all-mpnet-base-v2", supersedes="v1")
    docs.add_vectors(ids=ids[:150], vectors=Y[:150], space="v2")
    report = docs.fit_translator(source="v1", target="v2")
    hits = docs.search(Y[7], space="v2", k=10, where="price < 20")
    assert hits[0].id == "p7" and all(h.metadata["price"] < 20 for h in hits)
    hits = docs.search(Y[200], space="v2", k=10, encoder=Encoder(), depth=100)
    assert hits[0].id == "p200" and hits[0].provenance.kind == "native"
    assert docs.spaces["v2"].coverage > 0.5
"""
    )
    subprocess.run([sys.executable, "-W", "error", str(script)], cwd=tmp_path, check=True)
