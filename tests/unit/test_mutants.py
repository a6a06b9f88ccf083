import ast
from collections import Counter

import pytest

from tests.mutants.catalogue import MUTANTS, Mutant
from tests.support.worker_process import ROOT


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_fits_the_code(mutant: Mutant) -> None:
    """Its text stands once in its file, what is put in its place is another one, and its test exists."""
    whole = (ROOT / mutant.file).read_text(encoding="utf-8")
    assert mutant.applied(whole) != whole
    path, _, name = mutant.test.partition("::")
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert name.partition("[")[0] in functions


def test_names_are_unique() -> None:
    """Each has a name of its own, by which it is chosen."""
    assert max(Counter(mutant.name for mutant in MUTANTS).values()) == 1
