"""Declared parameters of index kinds: names, types, defaults and ranges in one place."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, final

from vecstore.errors import InvalidArgumentError

__all__ = ["ParameterSpec", "ParameterValue", "resolve_parameters"]

ParameterValue = int | float | str


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterSpec:
    """One parameter of an index kind.

    Parameters
    ----------
    name : str
    default : int or float or str
        Also fixes the type.
    when : {"build", "search"}
        Build parameters are frozen into the index. Search parameters given to the build
        become the index's own defaults and may be overridden in every search.
    summary : str
        One line for help texts.
    minimum, maximum : float, optional
        Inclusive range of numbers.
    choices : tuple of str, optional
        Allowed strings.
    pattern : str, optional
        Regular expression that a string must match as a whole.
    """

    name: str
    default: ParameterValue
    when: Literal["build", "search"]
    summary: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ""

    def checked(self, value: ParameterValue) -> ParameterValue:
        """Return the value, widened to the parameter's type.

        Raises
        ------
        InvalidArgumentError
            Wrong type, out of range, or not among the choices.
        """
        wanted = type(self.default)
        if wanted is float and type(value) is int:
            value = float(value)
        fits = type(value) is wanted
        if fits and isinstance(value, str):
            fits = not self.choices or value in self.choices
            fits = fits and bool(not self.pattern or re.fullmatch(self.pattern, value))
        elif fits and not isinstance(value, str):
            fits = (self.minimum is None or value >= self.minimum) and (
                self.maximum is None or value <= self.maximum
            )
        if not fits:
            raise InvalidArgumentError(
                f"index parameter {self.name!r} must be {self.domain}, got {value!r}"
            )
        return value

    @property
    def domain(self) -> str:
        """The allowed values in words."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.pattern:
            return f"a string like {self.pattern}"
        kind = {int: "an integer", float: "a number", str: "a string"}[type(self.default)]
        if self.minimum is not None and self.maximum is not None:
            return f"{kind} from {self.minimum:g} to {self.maximum:g}"
        return kind if self.minimum is None else f"{kind} of at least {self.minimum:g}"


def resolve_parameters(
    specs: Sequence[ParameterSpec], given: Mapping[str, ParameterValue], *, owner: str
) -> dict[str, ParameterValue]:
    """Return every parameter's value: the given one, checked, or its default.

    Raises
    ------
    InvalidArgumentError
        An unknown name, or a value outside its domain.
    """
    known = {spec.name: spec for spec in specs}
    for name in given:
        if name not in known:
            raise InvalidArgumentError(
                f"{owner} has no parameter {name!r}; "
                f"it takes {', '.join(known) if known else 'none'}"
            )
    return {
        name: spec.checked(given[name]) if name in given else spec.default
        for name, spec in known.items()
    }
