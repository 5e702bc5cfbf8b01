"""Translators as files: parameters in safetensors, the rest in JSON, and a model card.

`dump` gives bytes by file name and `load` takes them back; where they are kept is the
caller's business. Nothing is unpickled, and every byte that matters is under a checksum, so
a damaged file is reported and never becomes a slightly different map.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from vecstore_translators.base import JSON, Translator
from vecstore_translators.errors import CorruptFileError, InvalidArgumentError, VecstoreError
from vecstore_translators.registry import translator_kinds

PARAMETERS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
CARD_FILE = "README.md"

_FORMAT = "vecstore-translator"
_VERSION = 1


def dump(translator: Translator, *, card: Mapping[str, JSON] | None = None) -> dict[str, bytes]:
    """Return the files of a translator, by name.

    Parameters
    ----------
    translator : Translator
    card : mapping of str to JSON, optional
        What the model card should say beyond the map itself: spaces, number of pairs,
        held-out figures, data. Nested mappings become tables. Also kept in the config.

    Returns
    -------
    dict of str to bytes
        ``model.safetensors``, ``config.json`` and ``README.md``.

    Raises
    ------
    InvalidArgumentError
        The card or the settings are not JSON.
    """
    parameters = {k: np.ascontiguousarray(v) for k, v in translator.parameters().items()}
    payload = safetensors.numpy.save(parameters)
    config: dict[str, Any] = {
        "format": _FORMAT,
        "version": _VERSION,
        "kind": translator.kind,
        "source_dim": translator.source_dim,
        "target_dim": translator.target_dim,
        "settings": translator.settings(),
        "card": dict(card or {}),
        "parameters_sha256": hashlib.sha256(payload).hexdigest(),
    }
    try:
        config["config_sha256"] = _digest(config)
        text = json.dumps(config, indent=2, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(
            f"card and settings: expected finite JSON values, got something else ({error})"
        ) from error
    return {
        PARAMETERS_FILE: payload,
        CONFIG_FILE: text.encode() + b"\n",
        CARD_FILE: _model_card(translator, card or {}).encode(),
    }


def load(files: Mapping[str, bytes]) -> Translator:
    """Rebuild a translator from the files of :func:`dump`; the model card may be missing.

    Raises
    ------
    CorruptFileError
        A file is missing, damaged, of another version, or does not describe a translator.
    """
    config = load_config(files)
    payload = _file(files, PARAMETERS_FILE)
    if hashlib.sha256(payload).hexdigest() != config["parameters_sha256"]:
        raise CorruptFileError(
            f"{PARAMETERS_FILE}: expected the checksum written in {CONFIG_FILE}, got another; "
            "restore the file or fit again"
        )
    kinds = translator_kinds()
    if config["kind"] not in kinds:
        raise CorruptFileError(
            f"{CONFIG_FILE}: expected kind to be one of {', '.join(kinds)}, got "
            f"{config['kind']!r}; a newer release of vecstore may know it"
        )
    try:
        parameters: dict[str, NDArray[Any]] = safetensors.numpy.load(payload)
        translator = kinds[config["kind"]].from_parameters(parameters, config["settings"])
    except (SafetensorError, VecstoreError, KeyError, TypeError, ValueError) as error:
        raise CorruptFileError(
            f"{PARAMETERS_FILE}: expected the parameters of a {config['kind']} translator, got "
            f"something else ({error}); restore the files or fit again"
        ) from error
    declared = config["source_dim"], config["target_dim"]
    if declared != (translator.source_dim, translator.target_dim):
        raise CorruptFileError(
            f"{CONFIG_FILE}: expected dimensions {translator.source_dim} -> "
            f"{translator.target_dim} as in the parameters, got {declared[0]} -> {declared[1]}"
        )
    return translator


def load_config(files: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the verified content of ``config.json``: kind, dimensions, settings and card.

    Raises
    ------
    CorruptFileError
        As :func:`load`, without looking at the parameters.
    """
    try:
        config = json.loads(_file(files, CONFIG_FILE).decode())
    except (ValueError, RecursionError) as error:
        raise CorruptFileError(f"{CONFIG_FILE}: expected JSON, got something else") from error
    if not isinstance(config, dict) or config.get("format") != _FORMAT:
        raise CorruptFileError(
            f"{CONFIG_FILE}: expected the configuration of a {_FORMAT}, got something else"
        )
    if config.get("version") != _VERSION:
        raise CorruptFileError(
            f"{CONFIG_FILE}: expected version {_VERSION}, got {config.get('version')!r}; "
            "upgrade vecstore to read it"
        )
    digest = config.pop("config_sha256", None)
    if digest != _digest(config):
        raise CorruptFileError(
            f"{CONFIG_FILE}: its content does not match its own checksum; "
            "restore the file or fit again"
        )
    for key, kind in _SCHEMA.items():
        if not isinstance(config.get(key), kind):
            raise CorruptFileError(
                f"{CONFIG_FILE}: expected {key} of type {kind.__name__}, got {config.get(key)!r}"
            )
    return config


_SCHEMA: Mapping[str, type] = {
    "kind": str,
    "source_dim": int,
    "target_dim": int,
    "settings": dict,
    "card": dict,
    "parameters_sha256": str,
}


def _file(files: Mapping[str, bytes], name: str) -> bytes:
    """Return one of the files, or say that it is missing."""
    if name not in files:
        raise CorruptFileError(f"{name}: expected this file of the translator, got none")
    return bytes(files[name])


def _digest(config: Mapping[str, Any]) -> str:
    """Return the checksum of a configuration, whatever its layout as text."""
    canonical = json.dumps(config, sort_keys=True, separators=(",", ":"), allow_nan=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _model_card(translator: Translator, card: Mapping[str, JSON]) -> str:
    """Return the card for people, in markdown."""
    facts: dict[str, JSON] = {
        "kind": translator.kind,
        "source dimension": translator.source_dim,
        "target dimension": translator.target_dim,
        "affine": translator.affine is not None,
        "exact inverse": translator.invertible,
    }
    tables: dict[str, dict[str, JSON]] = {"Map": facts}
    for heading, values in (("Fit", translator.settings()), ("Card", card)):
        plain: dict[str, JSON] = {}
        for key, value in values.items():
            if isinstance(value, Mapping):
                tables[str(key)] = dict(value)
            else:
                plain[str(key)] = value
        tables = {**tables, heading: plain} if plain else tables
    lines = [
        "---",
        "library_name: vecstore",
        "tags: [embedding-translation]",
        "---",
        "",
        f"# Embedding translator {translator.source_dim} -> {translator.target_dim}",
        "",
        "Maps vectors of one embedding space into another, in this direction only. Fitted on",
        "paired vectors; its quality holds for texts like those pairs.",
    ]
    for heading, table in tables.items():
        lines += ["", f"## {_cell(heading)}", "", "| | |", "|---|---|"]
        lines += [f"| {_cell(key)} | {_cell(value)} |" for key, value in table.items()]
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    """Return a value as the text of one table cell."""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return " ".join(text.split()).replace("|", "\\|")
