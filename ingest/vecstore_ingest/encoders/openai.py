"""Embeddings from any endpoint of OpenAI's form: ``openai:text-embedding-3-small``."""

from __future__ import annotations

import base64
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from vecstore import EncodingProfile
from vecstore.errors import EncoderError, InvalidArgumentError
from vecstore_ingest.encoders.address import Address
from vecstore_ingest.encoders.endpoint import (
    DEFAULT_URL,
    ContentRefusedError,
    Endpoint,
    checked_url,
    key_variable,
)

__all__ = ["OpenAIEncoder"]

_PROBE = "dimension"


@final
class OpenAIEncoder:
    """A model behind ``POST base_url/embeddings``. Thread-safe.

    Parameters
    ----------
    name : str
        The model, as the endpoint knows it.
    base_url : str, optional
        By default ``OPENAI_BASE_URL`` of the environment, or OpenAI's own.
    model, revision : str, optional
        What spaces know the model by, if that is not ``name``.
    dim : int, optional
        Dimension of the vectors; by default a first request finds it.
    dimensions : int, optional
        Ask the model for this many; not every model can.
    document_prompt, query_prompt : str
        Put before every text.
    batch_size, batch_characters : int
        Most texts, and most characters unless a single text has more, in one request.
    concurrency : int
        Requests under way at a time.
    requests_per_minute : float, optional
        Most requests, retries included, spaced evenly.
    timeout, attempts, backoff : float, int, float
        Seconds to wait for data; tries of one request, on 429, 5xx and lost connections; seconds
        before the second one, doubling from there. Retry-After is honoured.
    api_key : str, optional
        By default from the environment: ``OPENAI_API_KEY``, or ``VECSTORE_API_KEY_`` and the
        host in capitals for another base URL. It is shown nowhere.
    api_key_env : str, optional
        Another variable to take it from.

    Raises
    ------
    InvalidArgumentError
        An argument is out of range, or OpenAI's own endpoint has no key.
    MissingDependencyError
        httpx2 is not installed.
    """

    def __init__(
        self,
        name: str,
        /,
        *,
        base_url: str | None = None,
        model: str | None = None,
        revision: str | None = None,
        dim: int | None = None,
        dimensions: int | None = None,
        document_prompt: str = "",
        query_prompt: str = "",
        batch_size: int = 256,
        batch_characters: int = 200_000,
        concurrency: int = 4,
        requests_per_minute: float | None = None,
        timeout: float = 60.0,
        attempts: int = 6,
        backoff: float = 0.5,
        api_key: str | None = None,
        api_key_env: str | None = None,
    ) -> None:
        for what, number in (
            ("batch_size", batch_size),
            ("batch_characters", batch_characters),
            ("concurrency", concurrency),
            ("dim", 1 if dim is None else dim),
            ("dimensions", 1 if dimensions is None else dimensions),
        ):
            if number < 1:
                raise InvalidArgumentError(f"expected {what} >= 1, got {number}")
        url = checked_url(base_url or os.environ.get("OPENAI_BASE_URL") or DEFAULT_URL)
        key = api_key or os.environ.get(api_key_env or key_variable(url), "").strip() or None
        if not key and (api_key_env is not None or url == DEFAULT_URL):
            raise InvalidArgumentError(
                f"expected a key for {url} in the environment variable "
                f"{api_key_env or key_variable(url)}, which is not set"
            )
        self._endpoint = Endpoint(
            url,
            key=key,
            timeout=timeout,
            attempts=attempts,
            backoff=backoff,
            requests_per_minute=requests_per_minute,
        )
        self._model = name
        self._name = model or name
        self._revision = revision
        self._dim = dim or dimensions
        self._profile = EncodingProfile(document_prompt=document_prompt, query_prompt=query_prompt)
        self._dimensions = dimensions
        self._batch_size, self._batch_characters = batch_size, batch_characters
        self._concurrency = concurrency
        self._probing = threading.Lock()
        self._options = {
            "base_url": None if url == DEFAULT_URL else url,
            "model": model,
            "revision": revision,
            "dimensions": dimensions,
            "document_prompt": document_prompt,
            "query_prompt": query_prompt,
            "requests_per_minute": requests_per_minute,
        } | {
            # What suits an endpoint once suits it when the address is opened again.
            what: value
            for what, value, default in (
                ("batch_size", batch_size, 256),
                ("batch_characters", batch_characters, 200_000),
                ("concurrency", concurrency, 4),
                ("timeout", timeout, 60.0),
            )
            if value != default
        }

    def __repr__(self) -> str:
        return f"<OpenAIEncoder {self._model!r} at {self._endpoint!r}>"

    @property
    def address(self) -> str:
        """Where a registry finds it again; the key is not part of it."""
        dim = None if self._dim == self._dimensions else self._dim
        return str(Address.of("openai", self._model, self._options | {"dim": dim}))

    @property
    def name(self) -> str:
        """The model."""
        return self._name

    @property
    def revision(self) -> str | None:
        """Its revision, if it was given."""
        return self._revision

    @property
    def profile(self) -> EncodingProfile:
        """The prompts."""
        return self._profile

    @property
    def dim(self) -> int:
        """Dimension of the vectors; asks the endpoint if nobody has said or seen it.

        Raises
        ------
        EncoderError
            The endpoint does not answer.
        """
        with self._probing:
            if self._dim is None:
                self._dim = self._post([_PROBE]).shape[1]
            return self._dim

    def close(self) -> None:
        """Close the connections."""
        self._endpoint.close()

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed documents.

        Returns
        -------
        ndarray of shape (len(texts), dim), float32

        Raises
        ------
        EncoderError
            The endpoint refuses, fails at every attempt, or answers with something else than
            one vector of this dimension for each text.
        InvalidArgumentError
            The endpoint refuses a text for what it is: too long, most often.
        """
        return self._encode(texts, self._profile.document_prompt)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed queries, as :meth:`encode_documents` does documents."""
        return self._encode(texts, self._profile.query_prompt)

    def _encode(self, texts: Sequence[str], prompt: str) -> NDArray[np.float32]:
        if not len(texts):
            return np.empty((0, self.dim), dtype=np.float32)
        batches = list(self._batches([prompt + text for text in texts]))
        if len(batches) == 1 or self._concurrency == 1:
            parts = [self._post(batch) for batch in batches]
        else:
            pool = ThreadPoolExecutor(min(self._concurrency, len(batches)))
            try:
                parts = list(pool.map(self._post, batches))
            finally:
                # After a failure what has not begun would only cost money.
                pool.shutdown(cancel_futures=True)
        dims = sorted({part.shape[1] for part in parts})
        with self._probing:
            self._dim = self._dim or dims[0]
        if dims != [self._dim]:
            raise EncoderError(
                f"{self!r}: expected vectors of {self._dim} dimensions, got "
                f"{', '.join(map(str, dims))}; check which model the endpoint serves"
            )
        return np.concatenate(parts)

    def _batches(self, texts: Sequence[str]) -> Iterator[list[str]]:
        """Split texts by their number and by their characters."""
        batch: list[str] = []
        characters = 0
        for text in texts:
            full = characters + len(text) > self._batch_characters
            if batch and (full or len(batch) == self._batch_size):
                yield batch
                batch, characters = [], 0
            batch.append(text)
            characters += len(text)
        yield batch

    def _post(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed one batch; one that is refused goes in halves, until a single text is at fault."""
        body: dict[str, Any] = {
            "model": self._model,
            "input": list(texts),
            # Read eight times as fast as numbers in JSON; who does not know it sends those.
            "encoding_format": "base64",
        }
        if self._dimensions is not None:
            body["dimensions"] = self._dimensions
        try:
            answer = self._endpoint.post("/embeddings", body)
        except ContentRefusedError as error:
            if len(texts) == 1:
                raise InvalidArgumentError(
                    f"expected texts that {self._model!r} can embed, got one of {len(texts[0]):,} "
                    f"characters, {texts[0][:40]!r}: {error}; shorten it or leave it out"
                ) from error
            half = len(texts) // 2
            return np.concatenate([self._post(texts[:half]), self._post(texts[half:])])
        return self._vectors(answer, len(texts))

    def _vectors(self, answer: Any, n: int) -> NDArray[np.float32]:
        """Check an answer and bring it into the order of the texts."""
        try:
            data = sorted(answer["data"], key=lambda each: each["index"])
            numbers = [each["index"] for each in data]
            rows = [_numbers(each["embedding"]) for each in data]
        except (TypeError, KeyError, ValueError) as error:
            raise EncoderError(
                f"{self!r}: expected data with an index and an embedding of numbers for each of "
                f"{n} texts, got something else; check the base URL"
            ) from error
        if numbers != list(range(n)):
            raise EncoderError(
                f"{self!r}: expected one vector for each of {n} texts, got {len(numbers)} with "
                f"indexes {str(numbers)[:60]}"
            )
        if len({row.shape for row in rows}) > 1 or rows[0].ndim != 1 or not rows[0].size:
            raise EncoderError(
                f"{self!r}: expected vectors of one dimension, got shapes "
                f"{sorted({row.shape for row in rows})}; check which model the endpoint serves"
            )
        vectors = np.stack(rows)
        if not np.isfinite(vectors).all():
            raise EncoderError(f"{self!r}: expected finite numbers, got NaN or infinity")
        return vectors


def _numbers(embedding: Any) -> NDArray[np.float32]:
    """Return a vector from a list of numbers, or from little-endian float32 in base64."""
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4")
    return np.asarray(embedding, dtype=np.float32)
