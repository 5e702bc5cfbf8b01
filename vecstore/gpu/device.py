"""Devices: which one dense work runs on, and what is said where the wished one is absent."""

from __future__ import annotations

import ctypes
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from vecstore.errors import InvalidArgumentError, MissingDependencyError

__all__ = [
    "DEVICE_PATTERN",
    "DEVICE_VARIABLE",
    "DeviceWarning",
    "check_device",
    "choose_device",
    "driver_found",
    "full_precision",
    "resolve_device",
    "warn_once",
]

DEVICE_VARIABLE = "VECSTORE_DEVICE"
"""Environment variable that says what "auto" means: "cpu" or "cuda:N"."""

DEVICE_PATTERN = r"auto|cpu|cuda(:\d{1,3})?"
"""What the name of a device looks like."""


class DeviceWarning(RuntimeWarning):
    """Something asked for a GPU runs on the CPU instead."""


def check_device(name: str) -> str:
    """Return a device's name if it is one.

    Raises
    ------
    InvalidArgumentError
        It is not "auto", "cpu", "cuda" or "cuda:N".
    """
    if not re.fullmatch(DEVICE_PATTERN, name):
        raise InvalidArgumentError(
            f"expected device to be 'auto', 'cpu', 'cuda' or 'cuda:N', got {name!r}"
        )
    return name


def resolve_device(name: str) -> str:
    """Return the device that work asked for ``name`` runs on, "cpu" or "cuda:N".

    "auto" is what the environment variable VECSTORE_DEVICE says, or else the first GPU, or else
    the CPU. Where a named GPU is not there the CPU does the work and one warning says so: an
    index that was built beside a GPU is still an index elsewhere.

    Raises
    ------
    InvalidArgumentError
        ``name``, or the variable, is no device.
    """
    return choose_device(name, gpu_count(), "PyTorch")


def choose_device(name: str, count: int, library: str) -> str:
    """Return the device that a library which sees ``count`` GPUs works on for ``name``.

    Raises
    ------
    InvalidArgumentError
        ``name``, or the variable VECSTORE_DEVICE, is no device.
    """
    wished = check_device(name)
    if wished == "auto":
        wished = check_device(os.environ.get(DEVICE_VARIABLE, "auto"))
    if wished == "cpu" or (wished == "auto" and not count):
        return "cpu"
    number = int(wished.partition(":")[2] or 0)
    if number < count:
        return f"cuda:{number}"
    warn_once(f"device {wished!r} was asked for, and {library} sees {count} GPUs")
    return "cpu"


@cache
def driver_found() -> bool:
    """Say whether a CUDA driver is installed, without which no library need be asked."""
    try:
        ctypes.CDLL("libcuda.so.1" if os.name == "posix" else "nvcuda.dll")
    except OSError:
        return False
    return True


@cache
def warn_once(reason: str) -> None:
    """Say why the CPU works instead of a GPU, once in the life of the process."""
    warnings.warn(f"{reason}; working on the CPU", DeviceWarning, stacklevel=4)


def find_torch() -> Any | None:
    """Return PyTorch, imported now, or None where it is not installed."""
    try:
        import torch
    except ImportError:
        return None
    return torch


def load_torch() -> Any:
    """Return PyTorch, imported now; untyped, as its own annotations leave too much open.

    Raises
    ------
    MissingDependencyError
        It is not installed.
    """
    torch = find_torch()
    if torch is None:
        raise MissingDependencyError(
            "expected PyTorch for work on a device, found none; run `pip install 'vecstore[gpu]'`"
        )
    return torch


@cache
def gpu_count() -> int:
    """Return the number of GPUs that PyTorch can use."""
    if not driver_found():
        return 0  # spares importing PyTorch to learn the same
    torch = find_torch()
    return torch.cuda.device_count() if torch is not None and torch.cuda.is_available() else 0


@contextmanager
def full_precision(torch: Any) -> Iterator[None]:
    """Keep float32 products float32: TensorFloat-32 has the ten bits of a half."""
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32
    matmul.allow_tf32 = False
    try:
        yield
    finally:
        matmul.allow_tf32 = before
