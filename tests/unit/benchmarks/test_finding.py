"""How findings are shown."""

from xml.etree import ElementTree as ET

import pytest

from benchmarks.__main__ import BENCHMARKS, ON_DEMAND
from benchmarks.document import DOCUMENT, with_section
from benchmarks.finding import Finding
from benchmarks.plot import Bar, bars
from benchmarks.reading import Spread

SVG = "{http://www.w3.org/2000/svg}"


def test_a_finding_is_an_aligned_markdown_table() -> None:
    """It reads well in a terminal, and pasted into a document."""
    finding = Finding("Speed", ("", "us"), [("ours", "480"), ("theirs", "1500")], note="A note.")
    assert finding.markdown().splitlines() == [
        "### Speed",
        "",
        "|        |   us |",
        "|--------|-----:|",
        "| ours   |  480 |",
        "| theirs | 1500 |",
        "",
        "A note.",
    ]


def test_bars_are_as_long_as_their_figures() -> None:
    """The picture is well-formed, whatever the labels, and in proportion."""
    lines = [Bar("a < b", Spread(100, 90, 110), "100"), Bar("c & d", Spread(300, 280, 400), "300")]
    root = ET.fromstring(bars("one & all", lines, strong="c & d"))
    ours, theirs = [float(bar.attrib["width"]) for bar in root.findall(f"{SVG}rect")[1:]]
    assert round(theirs / ours, 1) == 3.0
    texts = [text.text for text in root.findall(f"{SVG}text")]
    assert texts == ["one & all", "a < b", "100", "c & d", "300"]


def test_one_bar_stands_out() -> None:
    """Only the one that is named has another colour."""
    lines = [Bar(label, Spread(1, 1, 1), "") for label in "abc"]
    root = ET.fromstring(bars("", lines, strong="b"))
    first, second, third = [bar.attrib["fill"] for bar in root.findall(f"{SVG}rect")[1:]]
    assert first == third != second


def test_a_section_of_the_document_is_replaced_alone() -> None:
    """A new run changes its own figures, not the prose around them nor other figures."""
    text = "a\n<!-- one -->\nold\n<!-- /one -->\nb\n<!-- two -->\nkept\n<!-- /two -->\n"
    assert with_section(text, "one", "new\n\n") == text.replace("old", "new")


def test_every_benchmark_has_its_section() -> None:
    """The document has a place for what each of them finds."""
    text = DOCUMENT.read_text()
    for name in BENCHMARKS | ON_DEMAND:
        with_section(text, name, "")


def test_figures_without_a_place_are_refused() -> None:
    """They do not vanish."""
    with pytest.raises(ValueError, match="no section one"):
        with_section("<!-- one -->\n", "one", "new")
