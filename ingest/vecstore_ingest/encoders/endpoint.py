"""An HTTP endpoint that takes JSON: keys kept to their host, retries, one pace for all threads.

Keys go into the header of a request and nowhere else: into no message, no representation, no
address, and to no host but the one that they are for.
"""

from __future__ import annotations

import os
import re
import time
from typing import Any, Final, final
from urllib.parse import urlsplit

from vecstore.errors import EncoderError, InvalidArgumentError, MissingDependencyError
from vecstore_ingest.encoders.patience import Pace, delay_before_retry, retry_after

__all__ = ["DEFAULT_URL", "ContentRefusedError", "Endpoint", "checked_url", "key_variable"]

DEFAULT_URL: Final = "https://api.openai.com/v1"

_RETRIED: Final = (408, 409, 425, 429, 500, 502, 503, 504)
_ABOUT_CONTENT: Final = (400, 413, 422)
# A quota that is used up is reported as 429 too, and no waiting helps.
_FINAL_CODES: Final = ("insufficient_quota",)
_LONGEST_WAIT = 120.0
_SHOWN = 300


@final
class ContentRefusedError(EncoderError):
    """The endpoint objects to what was sent, and may take less or other texts."""


@final
class Endpoint:
    """Posts JSON to one base URL. Thread-safe.

    Parameters
    ----------
    base_url : str
    key : str, optional
        Sent as a bearer token.
    timeout : float
        Seconds for connecting and for each wait for data.
    attempts : int
        Requests made for one answer, at most.
    backoff : float
        Seconds before the second attempt; doubles from there.
    requests_per_minute : float, optional
    """

    def __init__(
        self,
        base_url: str,
        *,
        key: str | None,
        timeout: float,
        attempts: int,
        backoff: float,
        requests_per_minute: float | None,
    ) -> None:
        if attempts < 1:
            raise InvalidArgumentError(f"expected attempts >= 1, got {attempts}")
        try:
            import httpx2  # an extra
        except ImportError as error:
            raise MissingDependencyError(
                "encoders behind an HTTP endpoint need the package httpx2, which is not "
                'installed; pip install "vecstore[openai]"'
            ) from error
        if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
            raise InvalidArgumentError(
                f"expected a key of visible ASCII characters for {base_url}, got others among its "
                f"{len(key)}; check {key_variable(base_url)}"
            )
        self._base_url = base_url
        self._key = key
        self._attempts = attempts
        self._backoff = backoff
        self._pace = Pace(requests_per_minute)
        self._transport_error = httpx2.TransportError
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._client = httpx2.Client(timeout=timeout, headers=headers)

    def __repr__(self) -> str:
        return f"<Endpoint {self._base_url}>"

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def post(self, path: str, body: Any) -> Any:
        """Return the JSON that a request is answered with.

        Raises
        ------
        ContentRefusedError
            The endpoint objects to the body.
        EncoderError
            It refuses for another reason, answers something else than JSON, or fails or is not
            there at every attempt.
        """
        url = f"{self._base_url}{path}"
        attempt = 0
        while True:
            reason, wait = "", None
            self._pace.wait()
            try:
                response = self._client.post(url, json=body)
            except self._transport_error as error:
                reason = f"{type(error).__name__}: {error}".rstrip(": ")
            else:
                if response.is_success:
                    return self._json(response, url)
                reason = f"HTTP {response.status_code}: {self._said(response)}".rstrip(": ")
                if response.status_code not in _RETRIED or any(c in reason for c in _FINAL_CODES):
                    about = response.status_code in _ABOUT_CONTENT
                    kind = ContentRefusedError if about else EncoderError
                    raise kind(f"{url} refused to embed: {reason}{self._hint(response)}")
                wait = retry_after(response.headers)
            attempt += 1
            if attempt >= self._attempts:
                raise EncoderError(
                    f"{url} failed at {attempt} attempts, the last with {reason}; try again later"
                )
            if wait is not None and wait > _LONGEST_WAIT:
                raise EncoderError(
                    f"{url} asks to wait {wait:,.0f} s after {reason}; try again then"
                )
            time.sleep(max(delay_before_retry(attempt - 1, base=self._backoff), wait or 0.0))

    def _json(self, response: Any, url: str) -> Any:
        try:
            return response.json()
        except ValueError as error:
            raise EncoderError(
                f"{url}: expected JSON, got {self._clean(response.text)[:60]!r}; check the base URL"
            ) from error

    def _said(self, response: Any) -> str:
        """Return what an error response says; some repeat the key."""
        try:
            body = response.json()
        except ValueError:
            body = response.text
        error = body.get("error", body) if isinstance(body, dict) else body
        if isinstance(error, dict):
            parts = [str(error[k]) for k in ("code", "message") if error.get(k)]
            error = ", ".join(parts) or error
        return self._clean(" ".join(str(error).split()))[:_SHOWN]

    def _clean(self, text: str) -> str:
        """Take the key out of a text, before a cut through it would leave the half of it."""
        return text if self._key is None else text.replace(self._key, "***")

    def _hint(self, response: Any) -> str:
        if response.status_code not in (401, 403):
            return ""
        sent = "a key was sent" if self._key else "no key was sent"
        return f"; {sent}, it is taken from {key_variable(self._base_url)}"


def checked_url(base_url: str) -> str:
    """Return a base URL without a trailing slash; refuse one that could hold a secret."""
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidArgumentError(
            f"expected base_url as http(s)://host/path, got {parts.scheme or 'no'} scheme; "
            f"such as {DEFAULT_URL}"
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InvalidArgumentError(
            "expected base_url without user, password, query or fragment, which would be stored "
            "with the space; pass the key by environment variable"
        )
    return base_url.rstrip("/")


def key_variable(base_url: str) -> str:
    """Return the environment variable that holds the key for a base URL.

    Each host has its own, so that a base URL in somebody's catalog cannot draw the key of another
    host: ``OPENAI_API_KEY`` is for OpenAI, and for ``OPENAI_BASE_URL`` where that is set.

    Examples
    --------
    >>> key_variable("https://api.openai.com/v1")
    'OPENAI_API_KEY'
    >>> key_variable("https://embed.example.com/v1")
    'VECSTORE_API_KEY_EMBED_EXAMPLE_COM'
    """
    if base_url in (DEFAULT_URL, os.environ.get("OPENAI_BASE_URL", "").rstrip("/")):
        return "OPENAI_API_KEY"
    host = urlsplit(base_url).hostname or ""
    return f"VECSTORE_API_KEY_{re.sub(r'[^A-Za-z0-9]', '_', host).upper()}"
