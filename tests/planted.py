"""Planted embedding models: what a text means is known, and so is what each model makes of it."""

from __future__ import annotations

import numpy as np

DIM, TOPICS = 32, 10


class Model:
    """A planted embedding model: a linear map of what a text means, and a mean of its own."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.weight = rng.normal(size=(TOPICS, DIM)) * rng.permutation(np.linspace(2, 0.3, DIM))
        self.mean = rng.normal(size=DIM)

    def embed(self, rows, *, start=0, domain=0):
        rng = np.random.default_rng(1000 + start)
        shift = np.random.default_rng(domain).normal(size=TOPICS) if domain else 0.0
        meaning = rng.normal(size=(rows, TOPICS)) + shift
        noise = 0.4 * rng.normal(size=(rows, DIM))
        return (meaning @ self.weight + self.mean + noise).astype(np.float32)
