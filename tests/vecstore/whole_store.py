"""A store with every kind of file in it, all that can be asked of it, and ways to harm it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import vecstore

N, DIM = 60, 6
TRUTH = ("items", "vectors", "deletes", "translators")
CACHES = ("indexes", "translated", "lexical")
QUERIES = np.random.default_rng(1).standard_normal((9, DIM))


def make_store(path: Path) -> Path:
    """Make a store and close it."""
    rng = np.random.default_rng(0)
    with vecstore.open(path) as store:
        docs = store.create_collection("docs")
        docs.create_space("v1", dim=DIM)
        docs.create_space("v2", dim=DIM, supersedes="v1")
        for part in range(2):
            ids = [f"{part}-{i}" for i in range(N)]
            vectors = {"v1": rng.standard_normal((N, DIM))}
            texts = [f"word{i} in part{part}" for i in range(N)]
            docs.upsert(ids=ids, vectors=vectors, documents=texts, metadata={"n": list(range(N))})
        docs.delete([f"0-{i}" for i in range(5)])
        docs.add_vectors(ids=ids[:40], vectors=rng.standard_normal((40, DIM)), space="v2")
        docs.add_vectors(
            ids=ids[:3], vectors=rng.standard_normal((3, DIM)), space="v2", on_existing="replace"
        )
        docs.fit_translator(source="v1", target="v2", family="ridge")
        docs.build_index(space="v1", kind="flat")
        docs.build_index(space="v1", into="v2", kind="flat")
    use_everything(path)
    return path


def use_everything(path: Path) -> dict[str, Any]:
    """Read through every file; return what was answered."""
    with vecstore.open(path, create=False) as store:
        docs = store.collection("docs")
        asked = {
            "v1": docs.search(QUERIES, space="v1", k=50, where="n < 55"),
            "v2": docs.search(QUERIES, space="v2", k=50, where="n < 55"),
            "words": docs.search(
                QUERIES[:2], space="v2", k=20, text=["word7 in part1", "word9"], lexical=0.9
            ),
        }
        table = [row for batch in docs.scan(spaces=["v1", "v2"]) for row in batch.to_pylist()]
    answers: dict[str, Any] = {name: a.ids.tolist() for name, a in asked.items()}
    scores = {f"{name} scores": a.scores for name, a in asked.items()}
    return answers | scores | {"table": table}


def same(found: dict[str, Any], truth: dict[str, Any]) -> None:
    """Hold answers against the right ones; an index scores as exactly as a scan."""
    for name, value in truth.items():
        if name.endswith("scores"):
            np.testing.assert_allclose(found[name], value, atol=1e-5)
        else:
            assert found[name] == value, name


def files(path: Path, kind: str) -> list[Path]:
    """Return the files of a kind, without locks and what lists the others."""
    found = (p for p in (path / "data").glob(f"*/{kind}/**/*") if p.is_file())
    kept = sorted(p for p in found if not p.name.endswith(".lock") and p.name != ".managed.json")
    assert kept, kind
    return kept


Damage = Callable[[bytes, bytes], bytes | None]


def _flip(place: Callable[[int], int], bit: int) -> Damage:
    def damage(content: bytes, _: bytes) -> bytes:
        at = place(len(content))
        return content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :]

    return damage


DAMAGES: dict[str, Damage] = {
    "empty": lambda content, _: b"",
    "cut": lambda content, _: content[:-7],
    "cut in half": lambda content, _: content[: len(content) // 2],
    "grown": lambda content, _: content + b"\0",
    "zeroed": lambda content, _: bytes(len(content)),
    "first bit flipped": _flip(lambda size: 0, 0x01),
    "middle bit flipped": _flip(lambda size: size // 2, 0x10),
    "last bit flipped": _flip(lambda size: size - 1, 0x80),
    "swapped": lambda content, other: other,
    "missing": lambda content, _: None,
}


def inflict(victim: Path, damage: Damage, other: Path) -> bytes:
    """Damage a file; return what it was."""
    whole = victim.read_bytes()
    content = damage(whole, other.read_bytes())
    if content is None:
        victim.unlink()
    else:
        victim.write_bytes(content)
    return whole
