"""The registry: which scheme is opened by what. A new one is one file and one line here."""

from __future__ import annotations

import importlib
import inspect
import types
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, Union, get_args, get_origin, get_type_hints

from vecstore import Encoder
from vecstore.errors import InvalidArgumentError, NotFoundError
from vecstore_ingest.encoders.address import Address, check_scheme

__all__ = ["Factory", "encoder_schemes", "open_encoder", "register_encoder"]

Factory: TypeAlias = Callable[..., Encoder]

# By the name of their module, which is imported when the scheme is used.
_BUILT_IN: Final[Mapping[str, tuple[str, str]]] = {
    "sentence-transformers": ("sentence_transformers", "SentenceTransformersEncoder"),
    "openai": ("openai", "OpenAIEncoder"),
    "python": ("import_path", "ImportedEncoder"),
    "vectors": ("lookup", "open_lookup"),
}

# An address lies in the catalog for everybody to read, and whoever writes it there must not
# choose which secret of this machine goes out.
_BY_HAND_ONLY: Final = ("api_key", "api_key_env")

_registered: dict[str, Factory] = {}


def encoder_schemes() -> tuple[str, ...]:
    """Return the known schemes, sorted."""
    return tuple(sorted({*_BUILT_IN, *_registered}))


def register_encoder(scheme: str, factory: Factory) -> None:
    """Let ``scheme:name`` be opened by a function or class of one's own.

    Parameters
    ----------
    scheme : str
        A scheme of vecstore's own can be replaced.
    factory : callable
        Called with the name and keyword options. Options of an address are text; those whose
        parameter is annotated ``int``, ``float`` or ``bool`` are converted.

    Examples
    --------
    >>> import numpy as np
    >>> from vecstore_ingest import LookupEncoder
    >>> def nothing(name: str, *, dim: int = 2) -> LookupEncoder:
    ...     return LookupEncoder(name=name, texts=[], vectors=np.empty((0, dim)))
    >>> register_encoder("nothing", nothing)
    >>> open_encoder("nothing:at-all?dim=7").dim
    7
    """
    check_scheme(scheme)
    _registered[scheme] = factory


def open_encoder(address: str, **options: Any) -> Encoder:
    """Open an encoder by its address.

    Parameters
    ----------
    address : str
        ``scheme:name``, with options as ``scheme:name?option=value&option=value`` if there are
        any: what a space remembers. The schemes: ``sentence-transformers:MODEL``,
        ``openai:MODEL`` (any endpoint of that form), ``python:package.module:factory``,
        ``vectors:FILE`` (computed beforehand).
    **options
        As the scheme's encoder takes them, such as ``query_prompt="query: "``; they win over
        those of the address.

    Raises
    ------
    NotFoundError
        The scheme is unknown, or it does not know the name.
    InvalidArgumentError
        The address or an option is not what it should be.
    MissingDependencyError
        A library is not installed; names the extra.
    """
    parsed = Address.parse(address)
    secret = [name for name in _BY_HAND_ONLY if name in parsed.options]
    if secret:
        raise InvalidArgumentError(
            f"expected no {' or '.join(secret)} in the address of an encoder, which is stored and "
            "printed; set the environment variable, or pass it to open_encoder by name"
        )
    factory = _factory(parsed.scheme)
    written = {name: text for name, text in parsed.options.items() if name not in options}
    arguments = _typed(factory, parsed, written) | options
    try:
        inspect.signature(factory).bind(parsed.name, **arguments)
    except TypeError as error:
        raise InvalidArgumentError(f"an encoder of scheme {parsed.scheme!r}: {error}") from error
    return factory(parsed.name, **arguments)


def _factory(scheme: str) -> Factory:
    if scheme in _registered:
        return _registered[scheme]
    if scheme not in _BUILT_IN:
        raise NotFoundError(
            f"expected an encoder of scheme {', '.join(encoder_schemes())}, got {scheme!r}; "
            "register_encoder adds schemes"
        )
    module, name = _BUILT_IN[scheme]
    factory: Factory = getattr(importlib.import_module(f"vecstore_ingest.encoders.{module}"), name)
    return factory


def _typed(factory: Factory, address: Address, options: Mapping[str, str]) -> dict[str, Any]:
    """Return options of an address with the types of the factory's parameters."""
    parameters = inspect.signature(factory).parameters
    known = [name for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY]
    hints = get_type_hints(factory.__init__ if inspect.isclass(factory) else factory)
    typed = {}
    for name, text in options.items():
        if name not in known:
            public = [each for each in known if each not in _BY_HAND_ONLY]
            raise InvalidArgumentError(
                f"an encoder of scheme {address.scheme!r} has no option {name!r} in its address; "
                f"it has {', '.join(public) or 'none'}"
            )
        typed[name] = _converted(text, hints.get(name, str), name)
    return typed


def _converted(text: str, hint: Any, name: str) -> Any:
    """Convert text to the first of int, float and bool that the hint has."""
    union = get_origin(hint) in (Union, types.UnionType)
    kinds = get_args(hint) if union else (hint,)
    try:
        if bool in kinds:
            return {"true": True, "false": False}[text.lower()]
        for kind in (int, float):
            if kind in kinds:
                return kind(text)
    except (ValueError, KeyError) as error:
        expected = "true or false" if bool in kinds else "a number"
        raise InvalidArgumentError(
            f"expected option {name} of an encoder to be {expected}, got {text!r}"
        ) from error
    return text
