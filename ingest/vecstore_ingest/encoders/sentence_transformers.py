"""Models of the library sentence-transformers on this machine: ``sentence-transformers:NAME``."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from vecstore import EncodingProfile
from vecstore.errors import (
    EncoderError,
    InvalidArgumentError,
    MissingDependencyError,
    NotFoundError,
)
from vecstore_ingest.encoders.address import Address

__all__ = ["SentenceTransformersEncoder"]


@final
class SentenceTransformersEncoder:
    """A sentence-transformers model from a folder or the local cache. Thread-safe.

    Nothing is downloaded, no code of a model is run, and weights are read from safetensors only.

    Parameters
    ----------
    name : str
        Of the model, or its folder.
    model : str, optional
        What spaces know it by, if that is not ``name``.
    revision : str, optional
        Commit or tag of the model.
    document_prompt, query_prompt : str, optional
        Put before every text; by default those that the model comes with.
    max_tokens : int, optional
        Longer texts are cut; by default the model's own limit.
    dimensions : int, optional
        Keep this many leading dimensions; for models that were trained for it.
    batch_size : int
        Texts in one pass of the model.
    device : str, optional
        Such as "cpu" or "cuda"; by default the best there is.

    Raises
    ------
    MissingDependencyError
        sentence-transformers is not installed.
    NotFoundError
        The model is not on this machine; says how to get it.
    """

    def __init__(
        self,
        name: str,
        /,
        *,
        model: str | None = None,
        revision: str | None = None,
        document_prompt: str | None = None,
        query_prompt: str | None = None,
        max_tokens: int | None = None,
        dimensions: int | None = None,
        batch_size: int = 32,
        device: str | None = None,
    ) -> None:
        for what, number in (("max_tokens", max_tokens), ("batch_size", batch_size)):
            if number is not None and number < 1:
                raise InvalidArgumentError(f"expected {what} >= 1, got {number}")
        self._transformer = _loaded(name, revision, dimensions, device)
        if max_tokens is not None:
            self._transformer.max_seq_length = max_tokens
        prompts = self._transformer.prompts
        if document_prompt is None:
            document_prompt = prompts.get("document") or prompts.get("passage") or ""
        if query_prompt is None:
            query_prompt = prompts.get("query") or ""
        self._profile = EncodingProfile(
            document_prompt=document_prompt,
            query_prompt=query_prompt,
            pooling=_pooling(self._transformer),
            max_tokens=_as_int(self._transformer.max_seq_length),
        )
        self._name = model or name
        self._revision = revision
        self._batch_size = batch_size
        # A fast tokenizer that two threads set up at once refuses the second.
        self._lock = threading.Lock()
        options = {
            "model": model,
            "revision": revision,
            "max_tokens": max_tokens,
            "dimensions": dimensions,
            "device": device,
            "batch_size": None if batch_size == 32 else batch_size,
        }
        address = Address.of("sentence-transformers", name, options)
        # Empty prompts are kept where the model's own are not: they are another function.
        given = {
            key: text
            for key, text, own in (
                ("document_prompt", document_prompt, prompts.get("document")),
                ("query_prompt", query_prompt, prompts.get("query")),
            )
            if text != (own or "")
        }
        self._address = str(
            Address(scheme=address.scheme, name=name, options={**address.options, **given})
        )

    def __repr__(self) -> str:
        return f"<SentenceTransformersEncoder {self._name!r} on {self._transformer.device}>"

    @property
    def address(self) -> str:
        """Where a registry finds it again."""
        return self._address

    @property
    def name(self) -> str:
        """The model."""
        return self._name

    @property
    def revision(self) -> str | None:
        """Its revision, if it was given."""
        return self._revision

    @property
    def dim(self) -> int:
        """Dimension of the vectors."""
        return int(self._transformer.get_embedding_dimension())

    @property
    def profile(self) -> EncodingProfile:
        """Prompts, pooling and token limit, as they are in effect."""
        return self._profile

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed documents.

        Returns
        -------
        ndarray of shape (len(texts), dim), float32

        Raises
        ------
        EncoderError
            The model failed, for want of memory for example.
        """
        encode = self._transformer.encode_document
        return self._encode(encode, texts, self._profile.document_prompt)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed queries, as :meth:`encode_documents` does documents."""
        return self._encode(self._transformer.encode_query, texts, self._profile.query_prompt)

    def _encode(self, encode: Any, texts: Sequence[str], prompt: str) -> NDArray[np.float32]:
        if not len(texts):
            return np.empty((0, self.dim), dtype=np.float32)
        try:
            with self._lock:
                vectors = encode(
                    list(texts),
                    prompt=prompt,
                    batch_size=self._batch_size,
                    show_progress_bar=False,
                    convert_to_numpy=True,
                )
        except RuntimeError as error:
            raise EncoderError(
                f"{self!r} failed on {len(texts)} texts: {str(error)[:200]}; a smaller batch_size "
                "needs less memory"
            ) from error
        return np.ascontiguousarray(vectors, dtype=np.float32)


def _loaded(name: str, revision: str | None, dimensions: int | None, device: str | None) -> Any:
    """Return the model from this machine."""
    try:
        from sentence_transformers import SentenceTransformer  # an extra
    except ImportError as error:
        raise MissingDependencyError(
            "this encoder needs the package sentence-transformers, which is not installed; "
            'pip install "vecstore[sentence-transformers]"'
        ) from error
    try:
        return SentenceTransformer(
            name,
            revision=revision,
            device=device,
            truncate_dim=dimensions,
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        )
    except (OSError, ValueError) as error:
        said = " ".join(str(error).split())[:200]
        raise NotFoundError(
            f"expected a sentence-transformers model {name!r} in a folder or the local cache, "
            f"where it cannot be loaded from: {said}. Nothing is downloaded here; fetch it first "
            f"with `hf download {name}`"
        ) from error


def _pooling(transformer: Any) -> str | None:
    """Return how token vectors become one, if the model says."""
    for module in transformer.modules():
        mode = getattr(module, "pooling_mode", None)
        if mode is not None:
            return mode if isinstance(mode, str) else "+".join(mode)
    return None


def _as_int(value: Any) -> int | None:
    return None if value is None else int(value)
