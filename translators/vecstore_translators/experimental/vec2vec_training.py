"""The game that fits a vec2vec translator; everything here needs torch, and gives arrays back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vecstore_translators.experimental.vec2vec_translator import LAYERS
from vecstore_translators.training.torch_import import require_torch
from vecstore_translators.unpaired.clusters import Floats

if TYPE_CHECKING:
    import torch

    from vecstore_translators.experimental.vec2vec import AdversarialAligner

_SIDES = ("source", "target")


def train(
    settings: AdversarialAligner, A: Floats, B: Floats, *, seed: int
) -> dict[str, NDArray[np.float32]]:
    """Return the layers of the map from the rows of A to those of B, by name.

    Parameters
    ----------
    settings : AdversarialAligner
    A, B : ndarray of shape (n, d_s) and (m, d_t), float32
        Unit rows; nothing is known about which belong together.
    seed : int

    Raises
    ------
    MissingDependencyError
        torch, the extra ``train``, is not installed.
    """
    library = require_torch()
    with library.random.fork_rng(devices=[]):
        library.manual_seed(seed)
        return _train(library, settings, A, B)


def _train(
    library: Any, settings: AdversarialAligner, A: Floats, B: Floats
) -> dict[str, NDArray[np.float32]]:
    nn, width = library.nn, settings.width
    data = {"source": library.from_numpy(A), "target": library.from_numpy(B)}

    def block(enters: int, leaves: int) -> Any:
        return nn.Sequential(nn.Linear(enters, width), nn.SiLU(), nn.Linear(width, leaves))

    enter = nn.ModuleDict({side: block(rows.shape[1], width) for side, rows in data.items()})
    leave = nn.ModuleDict({side: block(width, rows.shape[1]) for side, rows in data.items()})
    core = block(width, width)
    judges = nn.ModuleDict({side: block(rows.shape[1], 1) for side, rows in data.items()})
    judges["latent"] = block(width, 1)

    def latent(rows: torch.Tensor, side: str) -> torch.Tensor:
        hidden = enter[side](rows)
        return hidden + core(hidden)  # type: ignore[no-any-return]

    def arrive(hidden: torch.Tensor, side: str) -> torch.Tensor:
        return nn.functional.normalize(leave[side](hidden), dim=1)  # type: ignore[no-any-return]

    players = [*enter.parameters(), *leave.parameters(), *core.parameters()]
    rate = settings.learning_rate
    player = library.optim.Adam(players, lr=rate, betas=(0.5, 0.99))
    judge = library.optim.Adam(judges.parameters(), lr=rate / 2, betas=(0.5, 0.99))
    for step in range(settings.steps):
        # Falling to zero: the game has no resting point at a constant rate.
        share = 1 - step / settings.steps
        player.param_groups[0]["lr"], judge.param_groups[0]["lr"] = rate * share, rate * share / 2
        native = {
            side: rows[library.randint(len(rows), (settings.batch,))] for side, rows in data.items()
        }
        hidden = {side: latent(native[side], side) for side in _SIDES}
        moved = {"target": arrive(hidden["source"], "target")}
        moved["source"] = arrive(hidden["target"], "source")

        verdict = _squared(judges["latent"](hidden["source"].detach()), 1)
        verdict = verdict + _squared(judges["latent"](hidden["target"].detach()), 0)
        for side in _SIDES:
            verdict = verdict + _squared(judges[side](native[side]), 1)
            verdict = verdict + _squared(judges[side](moved[side].detach()), 0)
        judge.zero_grad()
        library.autograd.backward(verdict)
        judge.step()

        loss = settings.latent * _squared(judges["latent"](hidden["source"]), 0.5)
        loss = loss + settings.latent * _squared(judges["latent"](hidden["target"]), 0.5)
        for side, other in (_SIDES, _SIDES[::-1]):
            back = arrive(latent(moved[other], other), side)
            same = arrive(hidden[side], side)
            kept = moved[other] @ moved[other].T - native[side] @ native[side].T
            loss = loss + _squared(judges[side](moved[side]), 1)
            loss = loss + settings.reconstruction * (1 - (same * native[side]).sum(dim=1).mean())
            loss = loss + settings.cycle * (1 - (back * native[side]).sum(dim=1).mean())
            loss = loss + settings.preservation * kept.square().mean()
        player.zero_grad()
        library.autograd.backward(loss)
        player.step()
    found = zip(
        LAYERS,
        (*enter["source"][::2], *core[::2], *leave["target"][::2]),
        strict=True,
    )
    arrays: dict[str, NDArray[np.float32]] = {}
    for name, layer in found:
        arrays[f"{name}.weight"] = layer.weight.detach().numpy().T
        arrays[f"{name}.bias"] = layer.bias.detach().numpy()
    return arrays


def _squared(scores: torch.Tensor, wanted: float) -> torch.Tensor:
    """Return the least-squares loss of a discriminator's scores."""
    return (scores - wanted).square().mean()
