"""The one place that imports torch for training, and says what to install where it is absent."""

from __future__ import annotations

from typing import Any

from vecstore_translators.errors import MissingDependencyError


def require_torch() -> Any:
    """Return torch, loaded now; untyped, as its own annotations leave too much open.

    Raises
    ------
    MissingDependencyError
        torch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError(
            "expected torch for training, found none; install it with pip install 'vecstore[train]'"
        ) from error
    return torch
