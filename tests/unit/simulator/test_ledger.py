"""What is written down."""

from simulator.ledger import SIGNED, TAKEN, VERIFIED, Ledger


def test_rows_show_what_was_written() -> None:
    """A row is what was added, and says whether the answer went out."""
    ledger = Ledger(1000.0)
    book = ledger.book("tencent", "AKID")
    flags = SIGNED | VERIFIED | TAKEN
    first = ledger.add(book, 1.5, "a", code="ok", flags=flags, connection=3)
    ledger.add(ledger.book("alibaba", "AK"), 2.5, "b", code="Throttling.User", flags=SIGNED, connection=4)
    ledger.answered(first)
    rows = list(ledger.rows(0, 99))
    assert rows[0] == {
        "n": 0,
        "t": 1.5,
        "unix": 1001.5,
        "provider": "tencent",
        "key": "AKID",
        "message_id": "a",
        "probe": False,
        "verified": True,
        "code": "ok",
        "taken": True,
        "signature_ok": True,
        "answered": True,
        "connection": 3,
    }
    assert (rows[1]["code"], rows[1]["taken"], rows[1]["answered"]) == ("Throttling.User", False, False)
    assert [row["n"] for row in ledger.rows(1, 2)] == [1]
    assert ledger.answered_takings == 1
    ledger.add(book, 3.5, "", code="MissingParameter", flags=SIGNED, connection=5)
    assert [row["probe"] for row in ledger.rows(0, 9)] == [False, False, True]


def test_what_is_taken_twice_is_counted() -> None:
    """The same id with the same outcome is twice; true after false is not, false after true is a fault."""
    book = Ledger(0.0).book("alibaba", "AK")
    for message_id, verified in [
        ("a", True),
        ("b", False),
        ("b", True),
        ("c", True),
        ("c", True),
        ("c", True),
    ]:
        book.take(message_id, verified=verified)
    assert (book.takings, book.taken_ids(), book.twice) == (6, {"a", "b", "c"}, {("c", True): 3})
    assert book.taken_count == 3
    assert book.false_after_true == 0
    book.take("a", verified=False)
    assert (book.false_after_true, book.taken_count) == (1, 3)


def test_arrivals_of_an_id_are_numbered() -> None:
    """The nth arrival of an id is told its number."""
    book = Ledger(0.0).book("alibaba", "AK")
    assert [book.arrive(name, 1.0) for name in ("a", "b", "a")] == [1, 1, 2]
    assert book.count == 3
