"""Translation on a device: the maps that are worth it, block by block, in float32."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.gpu.device import full_precision, load_torch, resolve_device
from vecstore_translators import AffineTranslator, Translator
from vecstore_translators.ensemble import EnsembleTranslator
from vecstore_translators.kernel import KernelTranslator
from vecstore_translators.mlp import MlpTranslator

__all__ = ["translate", "translate_on"]

# Small enough for a processor's cache to help the copies, large enough for the device.
_BLOCK_ROWS = 8_192
# Blocks under way: one is filled, one computed, one emptied.
_LANES = 3

Map = Callable[[Any], Any]


def translate(
    translator: Translator, vectors: NDArray[np.float32], *, device: str = "auto"
) -> NDArray[np.float32]:
    """Map vectors on the device where there is one, else as the translator does by itself.

    Parameters
    ----------
    vectors : ndarray of shape (n, source_dim), float32
    device : str
        As in :func:`vecstore.gpu.device.resolve_device`.

    Returns
    -------
    ndarray of shape (n, target_dim), float32
        Equal to ``translator.translate`` up to the rounding of float32 sums.

    Raises
    ------
    DimensionMismatchError, NonFiniteError
    """
    found = resolve_device(device)
    return translator.translate(vectors) if found == "cpu" else translate_on(
        translator, vectors, found
    )  # fmt: skip


def translate_on(
    translator: Translator, vectors: NDArray[np.float32], device: str
) -> NDArray[np.float32]:
    """Map vectors by PyTorch on a device that is there."""
    torch = load_torch()
    place = torch.device(device)
    mapped = None if vectors.shape[1:] != (translator.source_dim,) else _map(translator, place)
    if mapped is None:
        return translator.translate(vectors)
    result = np.empty((len(vectors), translator.target_dim), dtype=np.float32)
    with full_precision(torch), torch.no_grad():
        finite = _through(mapped, vectors, result, place)
    # Only now, for asking after every block would keep the device waiting.
    return result if finite else translator.translate(vectors)  # which says what is wrong, where


def _through(
    mapped: Map, vectors: NDArray[np.float32], result: NDArray[np.float32], place: Any
) -> bool:
    """Map block after block into ``result``, and say whether all vectors were finite.

    The host's copies go through a few pinned buffers that are used again: the device reads those
    by itself while the host fills the next, and no memory is fetched from the system for a block.
    """
    torch = load_torch()
    rows = min(_BLOCK_ROWS, max(1, len(vectors)))
    lanes = [
        _Lane(torch, (rows, vectors.shape[1]), (rows, result.shape[1]), place)
        for _ in range(_LANES)
    ]
    finite = torch.ones((), dtype=torch.bool, device=place)
    for number, start in enumerate(range(0, len(vectors), rows)):
        lane = lanes[number % _LANES]
        lane.settle()
        block = lane.send(vectors[start : start + rows])
        finite &= torch.isfinite(block).all()
        lane.fetch(mapped(block), result[start : start + rows])
    for lane in lanes:
        lane.settle()
    return bool(finite)


class _Lane:
    """A pinned buffer for each way, and the block that is under way in them."""

    def __init__(
        self, torch: Any, there: tuple[int, int], back: tuple[int, int], place: Any
    ) -> None:
        pinned = place.type == "cuda"
        self._torch = torch
        self._place = place
        self._there = torch.empty(there, dtype=torch.float32, pin_memory=pinned)
        self._back = torch.empty(back, dtype=torch.float32, pin_memory=pinned)
        self._done = torch.cuda.Event() if pinned else None
        self._target: NDArray[np.float32] | None = None

    def send(self, vectors: NDArray[np.float32]) -> Any:
        """Copy a block to the device."""
        buffer = self._there[: len(vectors)]
        np.copyto(buffer.numpy(), vectors)
        return buffer.to(self._place, non_blocking=True)

    def fetch(self, block: Any, target: NDArray[np.float32]) -> None:
        """Have a block copied back, to lie in ``target`` once it is settled."""
        self._back[: len(block)].copy_(block, non_blocking=True)
        self._target = target
        if self._done is not None:
            self._done.record()

    def settle(self) -> None:
        """Wait for the block that is under way, and put it where it belongs."""
        if self._target is None:
            return
        if self._done is not None:
            self._done.synchronize()
        np.copyto(self._target, self._back[: len(self._target)].numpy())
        self._target = None


def _map(translator: Translator, place: Any) -> Map | None:
    """Return a translator as a function of tensors; None for kinds that stay on the CPU."""
    torch = load_torch()
    there = partial(_there, place)
    if translator.affine is not None:
        return _affine(translator.affine, place)
    if isinstance(translator, KernelTranslator):
        base = _affine(translator.base, place)
        centre = translator.landmarks.mean(axis=0)
        landmarks, middle = there(translator.landmarks - centre), there(centre)
        norms, coefficients = landmarks.square().sum(dim=1), there(translator.coefficients)

        def kernel(block: Any) -> Any:
            moved = block - middle
            squares = moved.square().sum(dim=1, keepdim=True)
            distances = (squares + norms - 2 * moved @ landmarks.T).clamp_min(0)
            return base(block) + torch.exp(-translator.gamma * distances) @ coefficients

        return kernel
    if isinstance(translator, MlpTranslator):
        linear = _affine(translator.base, place)
        hidden, offset, output = map(
            there, (translator.hidden, translator.offset, translator.output)
        )
        return lambda block: linear(block) + torch.relu(block @ hidden + offset) @ output
    if isinstance(translator, EnsembleTranslator):
        parts = [_map(part, place) for part in translator.parts]
        known = [part for part in parts if part is not None]
        if len(known) == len(parts):
            weighted = list(zip(translator.weights, known, strict=True))
            return lambda block: sum(weight * part(block) for weight, part in weighted)
    return None


def _affine(translator: AffineTranslator, place: Any) -> Map:
    """Return x W + b as a function of tensors."""
    weight, bias = _there(place, translator.weight), _there(place, translator.bias)
    return lambda block: load_torch().addmm(bias, block, weight)


def _there(place: Any, array: NDArray[np.float32]) -> Any:
    """Copy an array to a device."""
    return load_torch().from_numpy(array.copy()).to(place)
