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

_BLOCK_ROWS = 65_536

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
        for start in range(0, len(vectors), _BLOCK_ROWS):
            part = slice(start, start + _BLOCK_ROWS)
            block = torch.from_numpy(np.array(vectors[part], dtype=np.float32)).to(place)
            if not bool(torch.isfinite(block).all()):
                return translator.translate(vectors)  # which says what is wrong, and where
            result[part] = mapped(block).cpu().numpy()
    return result


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
