"""The life of a store as actions that can be killed and run again, and what each must leave.

An action commits a known number of versions of the collection ``docs``; its model says what each
of them holds. Those that commit nothing (caches, exports) can be run again as they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

import vecstore
from vecstore.errors import NotFoundError
from vecstore.testing.stores import CollectionModel
from vecstore_ingest import export, ingest

DIM = {"v1": 6, "v2": 5}
IDS = [f"i{n}" for n in range(40)]
ROWS = [f"n{n}" for n in range(60)]
BAD = (7, 33)
BATCH = 20

Acknowledge = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class Act:
    """One action; ``models`` has a function for each version that it commits."""

    name: str
    run: Callable[[vecstore.Store, Path, Acknowledge], object]
    models: tuple[Callable[[CollectionModel], object], ...] = ()
    first: int = field(default=0, compare=False)


def vectors_of(names: Any, space: str, salt: int = 0) -> np.ndarray:
    """Vectors that anyone can work out again; the two spaces' are nearly rotations of one."""
    rows = [np.random.default_rng([salt, *name.encode()]).standard_normal(6) for name in names]
    old = np.array(rows)
    turn = np.random.default_rng(9).standard_normal((6, 5))
    return old if space == "v1" else old @ turn


class Encoder:
    """Embeds the texts of items as ``vectors_of`` does."""

    name, revision, dim = "m2", None, DIM["v2"]
    profile = vecstore.EncodingProfile()

    def encode_documents(self, texts):
        return vectors_of([text.split()[-1] for text in texts], "v2", 5)

    encode_queries = encode_documents


def texts(names: Any) -> list[str]:
    return [f"the words of {name}" for name in names]


def commits(name: str, write: Callable[[vecstore.Collection], object], model: Any) -> Act:
    """Return an action of one commit."""
    return Act(name=name, run=lambda store, *_: write(store.collection("docs")), models=(model,))


def _create(store: vecstore.Store, *_: Any) -> None:
    store.create_collection("docs", exist_ok=True)


def _upsert(docs: vecstore.Collection) -> None:
    docs.upsert(
        ids=IDS,
        vectors=vectors_of(IDS, "v1"),
        space="v1",
        documents=texts(IDS),
        metadata={"n": list(range(40))},
        checkpoint=vecstore.Checkpoint(job="story", state={"rows": 40}),
    )


def _upserted(model: CollectionModel) -> None:
    rows = [{"n": n} for n in range(40)]
    model.upsert(IDS, {"v1": vectors_of(IDS, "v1")}, texts(IDS), rows)


def _replaced(model: CollectionModel) -> None:
    model.upsert(IDS[:4], {"v1": vectors_of(IDS[:4], "v1", 1)}, texts(IDS[:4]))


def _caches(store: vecstore.Store, *_: Any) -> None:
    """Translated vectors and an index of words are written by the search that needs them."""
    docs = store.collection("docs")
    query = vectors_of(["q"], "v2")[0]
    docs.search(query, space="v2", k=5, execution="rewrite")
    docs.search(query, space="v2", k=5, execution="rewrite", text="words of i7")


def _cascade(store: vecstore.Store, *_: Any) -> None:
    docs = store.collection("docs")
    docs.search(vectors_of(["q"], "v2")[0], space="v2", k=3, encoder=Encoder(), depth=100)
    docs.flush()


def _cascaded(model: CollectionModel) -> None:
    missing = [item.id for item in model.items.values() if "v2" not in item.vectors]
    model.add_vectors(missing, vectors_of(missing, "v2", 5), "v2", "skip")


def write_rows(path: Path) -> None:
    """Write the file that is ingested; two of its rows are bad."""
    vectors = vectors_of(ROWS, "v1")
    lines = [
        {"id": name, "document": text, "n": n, "v1": vectors[n].tolist()[: 3 if n in BAD else 6]}
        for n, (name, text) in enumerate(zip(ROWS, texts(ROWS), strict=True))
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def _ingest(store: vecstore.Store, folder: Path, acknowledge: Acknowledge) -> None:
    docs = store.collection("docs")
    ingest(
        docs,
        folder / "rows.jsonl",
        batch_rows=BATCH,
        on_error="skip",
        rejects=folder / "rejects.jsonl",
        progress=lambda _: acknowledge(docs.version),
    )


def _ingested(batch: int) -> Callable[[CollectionModel], object]:
    def apply(model: CollectionModel) -> None:
        numbers = [n for n in range(batch * BATCH, (batch + 1) * BATCH) if n not in BAD]
        names = [ROWS[n] for n in numbers]
        vectors = {"v1": vectors_of(names, "v1")}
        model.upsert(names, vectors, texts(names), [{"n": n} for n in numbers])

    return apply


def _backfill(store: vecstore.Store, _: Path, acknowledge: Acknowledge) -> None:
    docs = store.collection("docs")
    docs.backfill(
        to="v2",
        encoder=Encoder(),
        batch=BATCH,
        priority="oldest",
        progress=lambda _: acknowledge(docs.version),
    )


def _backfilled(model: CollectionModel) -> None:
    missing = [item.id for item in model.items.values() if "v2" not in item.vectors][:BATCH]
    model.add_vectors(missing, vectors_of(missing, "v2", 5), "v2", "skip")


def _drop_other(store: vecstore.Store, *_: Any) -> None:
    """Another collection comes and goes."""
    other = store.create_collection("other", exist_ok=True)
    if "s" not in other.spaces:
        other.create_space("s", dim=2)
    other.upsert(ids=["a"], vectors=[[1, 2]])
    store.drop_collection("other")


def _export(store: vecstore.Store, folder: Path, *_: Any) -> None:
    export(store.collection("docs"), folder / "out.parquet", overwrite=True)


def _same(_: CollectionModel) -> None:
    """Commit something that is not seen in items and spaces."""


STORY: list[Act] = [
    Act(name="open a new store", run=lambda *_: None),
    Act(name="create collection", run=_create),
    commits(
        "create space v1",
        lambda docs: docs.create_space("v1", dim=DIM["v1"]),
        lambda model: model.add_space(vecstore.Space(name="v1", dim=DIM["v1"])),
    ),
    commits(
        "create space v2",
        lambda docs: docs.create_space("v2", dim=DIM["v2"], model="m2", supersedes="v1"),
        lambda model: model.add_space(
            vecstore.Space(name="v2", dim=DIM["v2"], model="m2", supersedes="v1")
        ),
    ),
    commits("upsert", _upsert, _upserted),
    commits(
        "add vectors",
        lambda docs: docs.add_vectors(ids=IDS[:30], vectors=vectors_of(IDS[:30], "v2"), space="v2"),
        lambda model: model.add_vectors(IDS[:30], vectors_of(IDS[:30], "v2"), "v2", "replace"),
    ),
    commits("delete", lambda docs: docs.delete(IDS[20:24]), lambda model: model.delete(IDS[20:24])),
    commits(
        "replace items",
        lambda docs: docs.upsert(
            ids=IDS[:4], vectors=vectors_of(IDS[:4], "v1", 1), space="v1", documents=texts(IDS[:4])
        ),
        _replaced,
    ),
    commits(
        "replace vectors",
        lambda docs: docs.add_vectors(
            ids=IDS[5:9], vectors=vectors_of(IDS[5:9], "v2", 2), space="v2", on_existing="replace"
        ),
        lambda model: model.add_vectors(IDS[5:9], vectors_of(IDS[5:9], "v2", 2), "v2", "replace"),
    ),
    Act(
        name="build an index",
        run=lambda store, *_: store.collection("docs").build_index(space="v1", kind="flat"),
    ),
    commits(
        "fit a translator",
        lambda docs: docs.fit_translator(source="v1", target="v2", family="procrustes"),
        _same,
    ),
    Act(name="fill caches", run=_caches),
    Act(name="cascade", run=_cascade, models=(_cascaded,)),
    Act(name="ingest", run=_ingest, models=tuple(map(_ingested, range(3)))),
    Act(name="backfill", run=_backfill, models=(_backfilled,) * 3),
    commits("compact", lambda docs: docs.compact(), _same),
    Act(name="expire", run=lambda store, *_: store.collection("docs").expire(keep_last=1)),
    Act(name="collect garbage", run=lambda store, *_: store.gc(grace=timedelta(0))),
    commits("drop a space", lambda docs: docs.drop_space("v1"), lambda m: m.drop_space("v1")),
    Act(name="drop a collection", run=_drop_other),
    Act(name="export", run=_export),
]


def starts() -> list[int]:
    """Return the version at which each action begins."""
    numbers = [0]
    for act in STORY:
        numbers.append(numbers[-1] + len(act.models))
    return numbers


def models() -> list[CollectionModel]:
    """Return what each version must hold."""
    states = [CollectionModel()]
    for act in STORY:
        for model in act.models:
            states.append(states[-1].copy())
            model(states[-1])
    return states


def play(
    place: str, data: Path, folder: Path, numbers: range, acknowledge: Acknowledge, **options: Any
) -> None:
    """Run actions, leaving out the commits that are there already."""
    begins = starts()
    with vecstore.open(place, data=data, **options) as store:
        for number in numbers:
            act = STORY[number]
            try:
                done = store.collection("docs").version
            except NotFoundError:
                done = -1
            if not act.models or done < begins[number + 1]:
                act.run(store, folder, acknowledge)
            if number >= 1:
                acknowledge(store.collection("docs").version)


__all__ = ["STORY", "models", "play", "starts", "write_rows"]
