"""The public namespace: flat, complete, light."""

from __future__ import annotations

import inspect
import subprocess
import sys

import vecstore_translators

HEAVY = ("torch", "faiss", "scipy", "sklearn", "pyarrow", "sqlalchemy", "duckdb")


def test_every_public_name_exists_is_documented_and_sorted() -> None:
    names = vecstore_translators.__all__
    assert names == sorted(set(names), key=lambda name: (name[0].islower(), name))
    for name in names:
        value = getattr(vecstore_translators, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__doc__, name


def test_import_loads_nothing_heavy() -> None:
    code = f"import sys, vecstore_translators; print([m for m in {HEAVY!r} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
