"""Frontier figure in the page: each of its points can be reached and says what it is."""

import io
import re
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from excise.report.frontier import Frontier
from excise.report.frontier_drawing import draw_series, series
from excise.report.in_force import InForce
from excise.report.markdown import plain
from excise.report.measures import Condition
from excise.report.plotting import COLOURS, NO_METADATA, styled_figure
from excise.report.results import Evaluation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Of names in SVG.
SPACE, LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"

# What stands in the page for the colours of the figure: it has a light and a dark theme.
THEME = {colour.lower(): f"color-mix(in srgb, {colour} 75%, var(--text))" for colour in COLOURS} | {
    "#000000": "var(--quiet)",
    "#4c4c4c": "var(--text)",
    "#e0e0e0": "var(--line)",
    "#ffffff": "var(--raised)",
    "#737373": "var(--before)",
    COLOURS[0].lower(): "var(--after)",
    COLOURS[4].lower(): "var(--random)",
}
LABEL = "What is left of the topic against what is left of all else"
KEY: dict[str, str] = {
    Condition.RANDOM: "as many random codes removed",
    Condition.RANDOM_TOPIC: "as many random codes removed, as often used in the topic",
}


def drawing(results: Iterable[Frontier | Evaluation], now: InForce | None = None) -> dict[str, Any] | None:
    """The figure of results, its points and its key; `None` if there is nothing to draw. Arguments as in `series`."""
    found = series(results, now)
    if not found:
        return None
    with styled_figure((5, 3.7), font_size=11) as figure, warnings.catch_warnings():
        # The reader's browser draws the texts, and has fonts for letters that matplotlib has none for.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        drawn = draw_series(figure.subplots(), found)
        for number, one in enumerate(drawn):
            one.line.set_gid(f"series-{number}")
        svg = inline_svg(figure, "frontier")
    svg.attrib |= {"role": "group", "aria-label": LABEL}
    key = []
    for number, one in enumerate(drawn):
        marks = svg.findall(f".//g[@id='frontier-series-{number}']//use")
        key.append({name: marks[0].get(name) for name in ("href", "style")} | {"label": KEY.get(one.label, one.label)})
        for mark, place in zip(marks, one.places, strict=True):
            said = f"{plain(place.label)}: {place.left:.1f} % of the topic left, {place.kept:.1f} % of all else"
            mark.attrib |= {"tabindex": "0", "role": "img", "aria-label": said}
            ElementTree.SubElement(mark, "title").text = said
    return {
        "svg": ElementTree.tostring(svg, encoding="unicode"),
        "points": [place for one in drawn for place in one.places],
        "key": key,
        "measured": list(dict.fromkeys(one.measured for one in found)),
    }


def inline_svg(figure: "Figure", name: str) -> Element:
    """The figure as an element of HTML, which needs no namespaces: in the page's colours and fonts, texts as texts.

    Args:
        figure: what is drawn.
        name: what no other figure of the page is called: its ids begin with it.
    """
    content = io.BytesIO()
    figure.savefig(content, format="svg", metadata=NO_METADATA["svg"])
    root = ElementTree.fromstring(content.getvalue())
    for head in root.findall(f"{SPACE}metadata") + [part for part in root if part.find(f"{SPACE}style") is not None]:
        root.remove(head)  # its style would be that of the whole page
    for attribute in ("width", "height", "version"):
        del root.attrib[attribute]
    for node in root.iter():
        node.tag = node.tag.removeprefix(SPACE)
        if "id" in node.attrib:  # none is that of another element of the page
            node.set("id", f"{name}-{node.get('id')}")
        for attribute, place in (("href", LINK), ("clip-path", "clip-path")):
            if place in node.attrib:
                node.set(attribute, node.attrib.pop(place).replace("#", f"#{name}-"))
        if "style" in node.attrib:
            style = re.sub(r"font-family:[^;]*;? ?", "", node.attrib["style"])
            node.set("style", re.sub("#[0-9a-f]{6}", lambda colour: THEME.get(colour[0], colour[0]), style))
    return root
