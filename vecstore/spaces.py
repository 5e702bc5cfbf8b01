"""Spaces: what makes two vectors comparable, and the one gate through which vectors enter.

A space is the output of one embedding function. Its fingerprint is a digest of everything
that changes that output, so two models of the same dimension are still two spaces.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, final, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore.errors import (
    DimensionMismatchError,
    InvalidArgumentError,
    InvalidVectorsError,
    NonFiniteError,
    SpaceMismatchError,
)
from vecstore.names import check_name

__all__ = ["EncodingProfile", "KernelMetric", "Metric", "Space", "VectorType"]

Metric = Literal["cosine", "ip", "l2"]
KernelMetric = Literal["ip", "l2"]
VectorType = Literal["float32", "float16"]

MAX_DIM = 65_536
# Scores are products of two lengths, or the square of their sum: 4e36 of float32's 3.4e38.
_LONGEST = 1e18
# A squared length this close to one is a length of one, to 1e-6.
_UNIT = 2e-6
_FLOAT16_MAX = float(np.finfo(np.float16).max)
_FLOAT32 = np.dtype(np.float32)
_WIDER = (np.dtype(np.float64), np.dtype(np.float16))
# Shorter and longer vectors are summed again, more exactly, before their length is believed.
_LEAST_SQUARE = 1e-30


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class EncodingProfile:
    """How texts became vectors, beyond the model's name: part of a space's identity."""

    document_prompt: str = ""
    query_prompt: str = ""
    pooling: str | None = None
    max_tokens: int | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """One embedding function's output in a collection. Vectors compare only within a space.

    Parameters
    ----------
    name : str
        Unique within the collection.
    dim : int
        Number of components of every vector.
    metric : {"cosine", "ip", "l2"}
        Under "cosine" vectors are stored with unit norm, so their length is not kept.
        Scores are larger-is-better: cosine, inner product, or minus squared distance.
    model, revision : str, optional
        The embedding model. Two spaces with the same dimension and different models
        have different fingerprints.
    dtype : {"float32", "float16"}
        Storage type; arithmetic is float32 in both cases.
    profile : EncodingProfile
        Prompts, pooling and token limit.
    supersedes : str, optional
        Name of the space that this generation replaces.
    encoder : str, optional
        Address, ``scheme:name``, under which an encoder registry finds the embedding function
        again. No part of the fingerprint.

    Examples
    --------
    >>> old = Space(name="v1", dim=384, model="all-MiniLM-L6-v2")
    >>> new = Space(name="v2", dim=384, model="e5-small-v2")
    >>> old.fingerprint == new.fingerprint
    False
    """

    name: str
    dim: int
    metric: Metric = "cosine"
    model: str | None = None
    revision: str | None = None
    dtype: VectorType = "float32"
    profile: EncodingProfile = field(default_factory=EncodingProfile)
    supersedes: str | None = None
    encoder: str | None = None

    def __post_init__(self) -> None:
        check_name(self.name, what="space")
        integer = isinstance(self.dim, int) and not isinstance(self.dim, bool)
        if not integer or not 1 <= self.dim <= MAX_DIM:
            raise InvalidArgumentError(
                f"space {self.name!r}: expected an integer 1 <= dim <= {MAX_DIM}, got {self.dim!r}"
            )
        for value, options, what in (
            (self.metric, get_args(Metric), "metric"),
            (self.dtype, get_args(VectorType), "dtype"),
        ):
            if value not in options:
                raise InvalidArgumentError(
                    f"space {self.name!r}: expected {what} to be one of {', '.join(options)}, "
                    f"got {value!r}"
                )

    @property
    def normalised(self) -> bool:
        """Whether stored vectors have unit norm (true for cosine)."""
        return self.metric == "cosine"

    @property
    def kernel_metric(self) -> KernelMetric:
        """The metric to search the stored vectors with: cosine is "ip" over unit vectors."""
        return "l2" if self.metric == "l2" else "ip"

    @property
    def fingerprint(self) -> str:
        """Hex digest of the embedding function: model, revision, dim, metric and profile.

        A space without a model is identified by its name instead.
        """
        identity = {
            "model": self.model if self.model is not None else f"unnamed:{self.name}",
            "revision": self.revision,
            "dim": self.dim,
            "metric": self.metric,
            "profile": asdict(self.profile),
        }
        text = json.dumps(identity, sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def require_same(self, other: Space) -> None:
        """Raise SpaceMismatchError unless the other space has the same fingerprint."""
        if other.fingerprint != self.fingerprint:
            raise SpaceMismatchError(
                f"space {self.name!r} holds vectors of {self.describe()}, but these vectors "
                f"are declared as {other.describe()}; vectors of different embedding functions "
                "cannot be compared even when their dimensions agree. Create a space for them "
                "and connect the two with fit_translator"
            )

    def require_model(self, model: str | None, revision: str | None = None) -> None:
        """Raise SpaceMismatchError if a declared model differs from this space's model."""
        wrong_model = None not in (model, self.model) and model != self.model
        wrong_revision = None not in (revision, self.revision) and revision != self.revision
        if wrong_model or wrong_revision:
            raise SpaceMismatchError(
                f"space {self.name!r} holds vectors of {self.describe()}, but these come from "
                f"model {model!r} (revision {revision!r}); create a space for that model"
            )

    def describe(self) -> str:
        """Return a short text for messages: model, revision, dimension and metric."""
        model = repr(self.model) if self.model is not None else "an unnamed model"
        revision = f" revision {self.revision!r}" if self.revision else ""
        return f"{model}{revision} ({self.dim} dimensions, {self.metric})"

    def prepare(self, vectors: ArrayLike) -> NDArray[Any]:
        """Check vectors and bring them to the form this space stores.

        Parameters
        ----------
        vectors : array_like of shape (n, dim)
            Any real dtype. Not modified.

        Returns
        -------
        ndarray of shape (n, dim), float32 or float16 as ``dtype`` says, C-contiguous
            Unit norm under cosine.

        Raises
        ------
        DimensionMismatchError
            The second axis is not ``dim``.
        NonFiniteError
            NaN or infinity, a value float16 cannot hold, or a zero vector under cosine.
        InvalidVectorsError
            Not a two-dimensional array of real numbers.
        """
        rows = self.prepare_queries(vectors)
        if self.dtype == "float32":
            return rows
        too_large = np.flatnonzero(np.abs(rows).max(axis=1, initial=0.0) > _FLOAT16_MAX)
        if too_large.size:
            raise NonFiniteError(
                f"space {self.name!r} stores float16, which cannot hold the values of row "
                f"{too_large[0]} (limit {_FLOAT16_MAX:g}); use dtype='float32' or scale the vectors"
            )
        return rows.astype(np.float16)

    def prepare_queries(self, vectors: ArrayLike) -> NDArray[np.float32]:
        """Check vectors as :meth:`prepare` does; return float32, unit norm under cosine."""
        rows = as_real_matrix(vectors, what=f"space {self.name!r}")
        if rows.shape[1] != self.dim:
            raise DimensionMismatchError(
                f"space {self.name!r} expects vectors of {self.dim} dimensions "
                f"({self.describe()}), got {rows.shape[1]}; embed with the model of this space"
            )
        # One pass finds every kind of bad value: NaN and infinity survive a sum of squares.
        squares = _squares(rows)
        if self.normalised and _all_near_one(squares):
            return rows  # what encoders give as a rule, and a query should pay for once
        if not np.isfinite(squares).all():
            squares = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
        if not np.isfinite(squares).all():
            bad = int(np.flatnonzero(~np.isfinite(squares))[0])
            raise NonFiniteError(
                f"space {self.name!r}: row {bad} has NaN or infinite components; nothing was "
                "written. Drop or re-embed the row"
            )
        if not self.normalised:
            self._require_scorable(squares)
            return rows
        if not (squares > _LEAST_SQUARE).all():
            # Tiny but honest vectors underflow in float32; only a true zero has no direction.
            squares = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
        if not (squares > 0).all():
            bad = int(np.flatnonzero(squares <= 0)[0])
            raise NonFiniteError(
                f"space {self.name!r} uses cosine, but row {bad} is a zero vector, which has no "
                "direction; nothing was written. Drop the row or re-embed it"
            )
        return np.ascontiguousarray(rows / np.sqrt(squares)[:, None], dtype=np.float32)

    def takes(self, query: object) -> NDArray[np.float32] | None:
        """Return what :meth:`prepare_queries` makes of one query, if nothing is to be said of it.

        A part of every search, and so in a few steps; None sends the rest to the long way.

        Parameters
        ----------
        query : ndarray of shape (dim,), float
            Whatever else comes is None, as is a vector that is refused, or nearly so.

        Returns
        -------
        ndarray of shape (1, dim), float32, or None
        """
        if type(query) is not np.ndarray or query.shape != (self.dim,):
            return None
        if query.dtype is not _FLOAT32:
            if query.dtype not in _WIDER:
                return None
            with np.errstate(over="ignore"):
                query = query.astype(np.float32)
        elif not query.flags.c_contiguous:
            return None
        row: NDArray[np.float32] = query[None]
        squared = np.vdot(query, query)  # which, unlike a dot product, overflows without a warning
        square = float(squared)
        if self.metric != "cosine":
            return row if square <= _LONGEST**2 else None
        if 1 - _UNIT < square < 1 + _UNIT:
            return row
        return row / np.sqrt(squared) if _LEAST_SQUARE < square < math.inf else None

    def _require_scorable(self, squares: NDArray[Any]) -> None:
        """Refuse vectors so long that float32 scores of them overflow."""
        long = np.flatnonzero(squares > _LONGEST**2)
        if long.size:
            raise NonFiniteError(
                f"space {self.name!r}: row {long[0]} has length {np.sqrt(squares[long[0]]):g}; "
                f"float32 scores overflow beyond {_LONGEST:g}. Scale the vectors"
            )


def _squares(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return squared lengths, ndarray of shape (n,)."""
    if len(rows) == 1:  # as Space.takes sums it
        return np.array([np.vdot(rows[0], rows[0])])
    squares: NDArray[np.float32] = np.einsum("ij,ij->i", rows, rows)
    return squares


def _all_near_one(squares: NDArray[np.float32]) -> bool:
    """Say whether squared lengths are 1 but for rounding; not so of NaN."""
    least, most = 1 - _UNIT, 1 + _UNIT
    if len(squares) == 1:  # a single query, of which two reductions are a visible part
        return least < squares.item() < most
    return not len(squares) or bool(squares.min() > least and squares.max() < most)


def as_real_matrix(vectors: ArrayLike, *, what: str) -> NDArray[np.float32]:
    """Return vectors as a C-contiguous float32 matrix, or say why that cannot be."""
    if isinstance(vectors, np.ndarray) and vectors.ndim == 2 and vectors.dtype == np.float32:
        return np.ascontiguousarray(vectors)
    try:
        rows = np.asarray(vectors)
    except ValueError as error:  # ragged nested lists
        raise InvalidVectorsError(
            f"{what}: expected a rectangular array of shape (n, dim): {error}"
        ) from error
    if rows.ndim != 2:
        raise InvalidVectorsError(
            f"{what}: expected a two-dimensional array of shape (n, dim), got shape {rows.shape}"
        )
    if rows.dtype.kind not in "fiu" or rows.dtype.itemsize > 8:
        raise InvalidVectorsError(f"{what}: expected real numbers, got dtype {rows.dtype}")
    if rows.dtype == np.float32:
        return np.ascontiguousarray(rows)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.ascontiguousarray(rows, dtype=np.float32)
