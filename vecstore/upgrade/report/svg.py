"""The few shapes of SVG that the charts draw, as a tree that escapes what it holds.

Colours are classes only: the page's style sheet gives them in light, in dark and on paper.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["Node", "Shape", "chart", "marker", "markup", "node", "number", "path", "serialised"]

Node: TypeAlias = ET.Element
Shape: TypeAlias = Literal["circle", "square", "diamond", "up", "down", "cross"]

# Outlines around the origin; sized so that all look equally large.
_OUTLINES: dict[Shape, str] = {
    "circle": "M-4.6,0a4.6,4.6 0 1 0 9.2,0a4.6,4.6 0 1 0 -9.2,0Z",
    "square": "M-4.2,-4.2H4.2V4.2H-4.2Z",
    "diamond": "M0,-5.8L5.8,0L0,5.8L-5.8,0Z",
    "up": "M0,-5.4L5.2,4.2H-5.2Z",
    "down": "M0,5.4L5.2,-4.2H-5.2Z",
    "cross": "M-4,-4L4,4M-4,4L4,-4",
}


def node(
    tag: str,
    parent: Node | None = None,
    /,
    text: str | None = None,
    **attributes: str | float,
) -> Node:
    """Return an element, appended to its parent if there is one.

    Underscores in names of attributes become hyphens; a trailing one is dropped.

    >>> serialised(node("text", text="<a>", class_="tick", x=1.0, text_anchor="end"))
    '<text class="tick" x="1" text-anchor="end">&lt;a&gt;</text>'
    """
    named = {
        name.rstrip("_").replace("_", "-"): value if isinstance(value, str) else number(value)
        for name, value in attributes.items()
    }
    element = ET.Element(tag, named)
    element.text = text
    if parent is not None:
        parent.append(element)
    return element


def chart(name: str, *, width: float, height: float, title: str, description: str) -> Node:
    """Return the root of a chart; ``name`` is unique in the page."""
    root = node(
        "svg",
        id=name,
        role="img",
        viewBox=f"0 0 {number(width)} {number(height)}",
        aria_labelledby=f"{name}-title {name}-description",
    )
    node("title", root, text=title, id=f"{name}-title")
    node("desc", root, text=description, id=f"{name}-description")
    return root


def marker(parent: Node, shape: Shape, *, x: float, y: float, class_: str = "mark") -> Node:
    """Append a marker whose centre is (x, y)."""
    return node(
        "path",
        parent,
        class_=class_,
        d=_OUTLINES[shape],
        transform=f"translate({number(x)} {number(y)})",
    )


def path(points: list[tuple[float, float]]) -> str:
    """Return the ``d`` of straight lines through the points.

    >>> path([(0, 0), (1, 2.25)])
    'M0,0L1,2.2'
    """
    return "M" + "L".join(f"{number(x)},{number(y)}" for x, y in points)


def number(value: float) -> str:
    """Return a coordinate with one decimal where it needs one: a tenth of a pixel is enough."""
    return f"{value:.1f}".removesuffix(".0")


def serialised(element: Node) -> str:
    """Return the element as HTML takes it: every element closed, text and attributes escaped."""
    return ET.tostring(element, encoding="unicode", short_empty_elements=False)


def markup(element: Node) -> Markup:
    """Return the element for a template: safe as it is, because serialising has escaped it."""
    # Loaded here: whoever never writes a report does not load what templates need.
    from markupsafe import Markup

    return Markup(serialised(element))
