"""The docs and the code say the same, and no link leads nowhere."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.markdown import anchors, broken, links, slug_of
from worker.reference.page import filled, table
from worker.reference.pages import DOCS, PAGES, made

ROOT = DOCS.parent
PAGES_OF_ALL = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("deploy/**/*.md")])

FILE = re.compile(r"`((?:[a-z_]+/)+[\w.-]+\.(?:py|lua|toml|yml|yaml|md|json|svg|txt))`")
"""A file of the project that a text names."""

MADE_UP = "acme"
"""What files are called that a text asks the reader to write."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_tables_are_those_of_the_code(page: Path) -> None:
    """A setting or metric that was changed stands changed in the docs: `make docs` writes them anew."""
    assert page.read_text(encoding="utf-8") == made(page), f"{page.name} is old: run `make docs`"


def test_an_old_table_is_seen() -> None:
    """A page with another table than the code's is not the page that is made; prose is left as it stands."""
    page = "Prose.\n<!-- x: begin -->\nold\n<!-- x: end -->\nMore.\n"
    assert filled(page, {"x": "new"}) == page.replace("old", "new")
    assert filled(page, {"x": "old"}) == page


@pytest.mark.parametrize("blocks", [{}, {"y": ""}, {"x": "", "y": ""}])
def test_a_table_without_a_place_is_a_fault(blocks: dict[str, str]) -> None:
    """No table is left out because its place on the page is gone, nor left standing because it is no more."""
    with pytest.raises(ValueError, match="the page has"):
        filled("<!-- x: begin -->\n<!-- x: end -->\n", blocks)


def test_a_cell_can_hold_a_bar() -> None:
    """A bar in a cell ends no cell."""
    assert table(("a", "b"), [("x|y", "z")]) == "| a | b |\n| --- | --- |\n| x\\|y | z |"


@pytest.mark.parametrize("page", PAGES_OF_ALL, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    """Each link to a file or heading of the project finds it."""
    assert list(broken(page, ROOT)) == []


@pytest.mark.parametrize("page", PAGES_OF_ALL, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_is_named_is_there(page: Path) -> None:
    """A file that a text names in code type exists."""
    assert list(missing_files(page.read_text(encoding="utf-8"))) == []


def missing_files(text: str) -> Iterator[str]:
    """Yield the named files that are not there; what a command writes into build/ need not be."""
    folders = {folder.name for folder in ROOT.iterdir() if folder.is_dir()} - {"build"}
    for name in FILE.findall(text):
        if MADE_UP not in name and name.partition("/")[0] in folders and not (ROOT / name).exists():
            yield name


def test_a_missing_file_is_seen() -> None:
    """A name that no file has is found, one of another project's is not."""
    assert list(missing_files("`tests/gone.py` `docs/decisions.md` `middleware/x.py`")) == ["tests/gone.py"]


@pytest.mark.parametrize(
    "link", ["gone.md", "page.md#gone", "#gone", "../outside.md", "folder/gone.md", "page.md#Two-Words"]
)
def test_a_broken_link_is_seen(tmp_path: Path, link: str) -> None:
    """A file or heading that does not exist, and whatever lies outside of the project, is found."""
    (tmp_path / "outside.md").write_text("# Outside\n")
    root = tmp_path / "project"
    root.mkdir()
    (root / "page.md").write_text("# Two words\n")
    page = root / "index.md"
    page.write_text(f"# Index\n\nSee [this]({link}), [that](page.md#two-words) and [here](#index).\n")
    assert len(list(broken(page, root))) == 1


def test_links_are_read_as_a_browser_would() -> None:
    """Links in code are none; those to other sites are not ours to check."""
    text = "[a](b.md) ![c](d.svg) `[e](f)` [g](https://h) [i](j.md#k 'title')\n```\n[l](m)\n```\n[n]: o.md\n"
    assert list(links(text)) == ["b.md", "d.svg", "j.md#k", "o.md"]


def test_the_index_of_decisions_has_all_of_them() -> None:
    """In their order."""
    index, _, body = (DOCS / "decisions.md").read_text(encoding="utf-8").partition("\n\n## ")
    headings = re.findall(r"^##+ (.*)$", f"## {body}", re.MULTILINE)
    assert list(links(index)) == [f"#{slug_of(heading)}" for heading in headings]


def test_headings_are_named_as_on_github() -> None:
    """Punctuation goes, blanks become dashes, a second one of the same name gets a number."""
    assert slug_of("TLS, Sentinel, socket files") == "tls-sentinel-socket-files"
    assert slug_of("`dead replay` & co.") == "dead-replay--co"
    text = '# A\n## A\n```\n# no heading\n```\n### [B](c) d\n<a id="e"></a>\n'
    assert anchors(text) == {"a", "a-1", "b-d", "e"}
