"""The list of countries."""

import re

from tasks.countries import COUNTRIES, ISO, UNKNOWN


def test_the_list_is_whole() -> None:
    """ISO assigns 249 codes; Kosovo's XK and the often written UK are none of them."""
    assert len(set(ISO)) == len(ISO) == 249
    assert tuple(sorted(ISO)) == ISO
    assert all(re.fullmatch("[A-Z]{2}", code) for code in COUNTRIES)
    assert {"CN", "BR", "GB", "NG", "SG"} < set(ISO)
    assert not {"XK", "UK", UNKNOWN} & set(ISO)
