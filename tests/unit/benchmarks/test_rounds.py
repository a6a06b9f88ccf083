"""In which order what is measured."""

from collections import Counter

import pytest

from benchmarks.__main__ import BENCHMARKS, parser
from benchmarks.contenders import ALL, OURS
from benchmarks.rounds import turns
from benchmarks.whereabouts import REST, by_part


def test_everybody_has_a_turn_in_every_round() -> None:
    """Nobody is always first, when the machine is cool, or always last."""
    order = list(turns(ALL, 3))
    assert Counter(number for number, _ in order) == dict.fromkeys((1, 2, 3), len(ALL))
    places = [[contender for at, contender in order if at == number].index(OURS) for number in (1, 2, 3)]
    assert places == [0, len(ALL) - 1, 0]


@pytest.mark.parametrize("text", ["", "compere", "compare,nothing"])
def test_an_unknown_benchmark_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt name stops the run at once, with status 2."""
    with pytest.raises(SystemExit) as stop:
        parser().parse_args(["--only", text])
    assert stop.value.code == 2
    assert "no such benchmark" in capsys.readouterr().err


def test_without_names_everything_is_measured() -> None:
    """The profile alone has to be asked for: it wants a program that is no dependency."""
    assert parser().parse_args([]).only == list(BENCHMARKS)


def test_a_sample_counts_for_the_innermost_part_that_asked_for_it() -> None:
    """What the standard library does is put to its caller, what nobody asked for to the rest."""
    stacks = [
        "run (site-packages/celery/bin/base.py:1);send (worker/http/client.py:9);hash (python3.11/hashlib.py:3) 2",
        "run (worker/engine.py:1);sign (providers/tc3.py:9);digest (python3.11/hmac.py:3) 6",
        "_bootstrap (python3.11/threading.py:9) 2",
    ]
    shares = dict(by_part(stacks))
    assert shares[REST] == 0.2
    assert shares["sign the request, read the answer"] == 0.6
    assert sum(shares.values()) == 1.0
