import json

import pytest

from config.visible import visible


@pytest.mark.parametrize("character", ["\x7f", "\x9b", "\u202e", "\u2066", "\u200f", "\u2028"])
def test_what_steers_a_terminal_is_written_out(character: str) -> None:
    """The line holds nothing that a terminal obeys, and reads as the same JSON."""
    text = json.dumps({"id": f"a{character}b"}, ensure_ascii=False)
    assert character in text
    assert character not in visible(text)
    assert json.loads(visible(text)) == {"id": f"a{character}b"}


def test_other_text_stays_as_it_is() -> None:
    """Names in any script are readable still."""
    assert visible('{"id": "短信 é"}') == '{"id": "短信 é"}'
