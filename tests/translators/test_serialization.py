"""Stored translators: what was dumped comes back, and damage never becomes another map."""

from __future__ import annotations

import json

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from vecstore_translators import AffineTranslator, Ridge, dump, load
from vecstore_translators.errors import CorruptFileError, InvalidArgumentError
from vecstore_translators.serialization import (
    CARD_FILE,
    CONFIG_FILE,
    PARAMETERS_FILE,
    _digest,
    load_config,
)
from vecstore_translators.testing import planted_pairs

PAIRS = planted_pairs(n=60, source_dim=6, target_dim=4)
TRANSLATOR = Ridge(alphas=(0.1,)).fit(PAIRS.X, PAIRS.Y)
FILES = dump(TRANSLATOR, card={"source": "v1", "held_out": {"overlap@10": 0.5}})


def rewritten(**changes: object) -> dict[str, bytes]:
    """FILES with another configuration under a valid checksum, as a forger would write it."""
    config = json.loads(FILES[CONFIG_FILE])
    config.pop("config_sha256")
    config.update(changes)
    config["config_sha256"] = _digest(config)
    return {**FILES, CONFIG_FILE: json.dumps(config).encode()}


def with_parameters(payload: bytes, **changes: object) -> dict[str, bytes]:
    """FILES with other parameters under valid checksums."""
    import hashlib

    digest = hashlib.sha256(payload).hexdigest()
    return {**rewritten(parameters_sha256=digest, **changes), PARAMETERS_FILE: payload}


def same_map(translator: object) -> bool:
    assert isinstance(translator, AffineTranslator)
    moved = translator.translate(PAIRS.held_out_x)
    return np.array_equal(moved, TRANSLATOR.translate(PAIRS.held_out_x))


def test_round_trip_keeps_map_provenance_and_card() -> None:
    again = load(FILES)
    assert same_map(again)
    assert again.settings() == TRANSLATOR.settings()
    assert again.settings()["hyperparameters"] == {"alpha": 0.1, "pairs": 60}
    assert load_config(FILES)["card"] == {"source": "v1", "held_out": {"overlap@10": 0.5}}


def test_dump_is_deterministic() -> None:
    again = dump(TRANSLATOR, card={"held_out": {"overlap@10": 0.5}, "source": "v1"})
    assert again[PARAMETERS_FILE] == FILES[PARAMETERS_FILE]
    assert again[CONFIG_FILE] == FILES[CONFIG_FILE]


def test_model_card_is_for_people_and_not_needed() -> None:
    card = FILES[CARD_FILE].decode()
    for expected in ("6 -> 4", "ridge", "overlap@10", "| alpha | 0.1 |", "| source | v1 |"):
        assert expected in card
    assert same_map(load({k: v for k, v in FILES.items() if k != CARD_FILE}))
    hostile = dump(TRANSLATOR, card={"a|b": "line\n# heading | cell"})[CARD_FILE].decode()
    assert "| a\\|b | line # heading \\| cell |" in hostile


@pytest.mark.parametrize("card", [{"x": float("nan")}, {"x": object()}, {"x": b"bytes"}])
def test_card_must_be_json(card: dict[str, object]) -> None:
    with pytest.raises(InvalidArgumentError, match="JSON"):
        dump(TRANSLATOR, card=card)  # type: ignore[arg-type]


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_a_flipped_bit_is_reported_or_changes_nothing(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([PARAMETERS_FILE, CONFIG_FILE]))
    content = bytearray(FILES[name])
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        translator = load({**FILES, name: bytes(content)})
    except CorruptFileError:
        return
    assert name == CONFIG_FILE, "a damaged parameter file was accepted"
    assert same_map(translator)
    assert translator.settings() == TRANSLATOR.settings()


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_a_truncated_or_random_file_is_reported(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([PARAMETERS_FILE, CONFIG_FILE]))
    # The last byte of the configuration is a line feed, which says nothing.
    shorter = FILES[name][: data.draw(st.integers(0, len(FILES[name]) - 2))]
    for content in (shorter, data.draw(st.binary(max_size=64))):
        with pytest.raises(CorruptFileError):
            load({**FILES, name: content})


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_forged_parameter_bytes_are_reported_or_still_a_translator(data: st.DataObject) -> None:
    """Even under a valid checksum, bytes are only ever a finite map of the stated shape."""
    content = bytearray(FILES[PARAMETERS_FILE])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        translator = load(with_parameters(bytes(content)))
    except CorruptFileError:
        return
    assert (translator.source_dim, translator.target_dim) == (6, 4)
    assert all(np.isfinite(p).all() for p in translator.parameters().values())


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "unknown"},
        {"kind": 3},
        {"version": 2},
        {"format": "other"},
        {"source_dim": 7},
        {"source_dim": "6"},
        {"settings": {}},
        {"settings": []},
        {"settings": {"fitted_by": 3, "hyperparameters": {}}},
        {"settings": {"fitted_by": "x", "hyperparameters": []}},
        {"parameters_sha256": "0" * 64},
    ],
    ids=str,
)
def test_configurations_that_describe_no_translator_are_refused(
    changes: dict[str, object],
) -> None:
    with pytest.raises(CorruptFileError, match="expected"):
        load(rewritten(**changes))


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"weight": np.eye(6, 4, dtype=np.float32)},
        {"weight": np.eye(6, dtype=np.float32), "bias": np.zeros(4, np.float32)},
        {"weight": np.full((6, 4), np.nan, np.float32), "bias": np.zeros(4, np.float32)},
        {"weight": np.zeros((6, 4, 1), np.float32), "bias": np.zeros(4, np.float32)},
        {"weight": np.zeros((6, 4), np.int64), "bias": np.zeros(4, np.float32)},
    ],
)
def test_parameters_that_are_no_map_are_refused(parameters: dict[str, np.ndarray]) -> None:
    with pytest.raises(CorruptFileError, match="affine"):
        load(with_parameters(safetensors.numpy.save(parameters)))


def test_hostile_headers_and_nesting_are_refused() -> None:
    header = json.dumps({"weight": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 4]}})
    payload = len(header).to_bytes(8, "little") + header.encode() + b"\0" * 4
    for hostile in (payload, (2**62).to_bytes(8, "little") + b"{}", b""):
        with pytest.raises(CorruptFileError):
            load(with_parameters(hostile))
    with pytest.raises(CorruptFileError):
        load({**FILES, CONFIG_FILE: b"[" * 200_000})


@pytest.mark.parametrize("name", [PARAMETERS_FILE, CONFIG_FILE])
def test_missing_files_are_named(name: str) -> None:
    with pytest.raises(CorruptFileError, match=name):
        load({k: v for k, v in FILES.items() if k != name})
