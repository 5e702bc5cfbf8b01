"""Translators made of translators: how their parts are stored, and rebuilt, inside one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vecstore_translators.base import JSON, Translator


def parts_parameters(parts: Sequence[Translator]) -> dict[str, NDArray[np.float32]]:
    """Return the parameters of part i under ``i.name``."""
    return {
        f"{i}.{name}": array
        for i, part in enumerate(parts)
        for name, array in part.parameters().items()
    }


def parts_settings(parts: Sequence[Translator]) -> list[JSON]:
    """Return kind and settings of every part."""
    return [{"kind": part.kind, "settings": part.settings()} for part in parts]


def parts_from(
    parameters: Mapping[str, NDArray[np.float32]], described: JSON
) -> tuple[Translator, ...]:
    """Rebuild the parts from their parameters and their list of kinds and settings.

    Raises
    ------
    VecstoreError, KeyError, TypeError or ValueError
        The description does not fit the parameters.
    """
    # The registry lists the classes that are made of parts too, so it is asked only when used.
    from vecstore_translators.registry import translator_kinds

    if not isinstance(described, list | tuple):
        raise TypeError("settings: expected a list of parts")
    by_part: dict[str, dict[str, NDArray[np.float32]]] = {}
    for key, array in parameters.items():
        place, _, name = key.partition(".")
        by_part.setdefault(place, {})[name] = array
    kinds = translator_kinds()
    parts: list[Translator] = []
    for i, part in enumerate(described):
        if not isinstance(part, Mapping) or not isinstance(part["settings"], Mapping):
            raise TypeError("settings: expected kind and settings of every part")
        arrays = by_part.pop(str(i), {})
        parts.append(kinds[str(part["kind"])].from_parameters(arrays, part["settings"]))
    if by_part:
        raise ValueError(f"parameters: expected {len(described)} parts, got more: {[*by_part]}")
    return tuple(parts)
