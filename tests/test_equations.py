"""Every equation of a paper has one home, and the home says so."""

import functools
import importlib
import pathlib
import re
import tomllib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
EQUATIONS = tomllib.loads((ROOT / "docs" / "equations.toml").read_text())
CITED = [
    name
    for path in sorted((ROOT / "src").rglob("*.py"))
    for name in re.findall(r"^\s*Equation: (\S+)$", path.read_text(), re.MULTILINE)
]


@pytest.mark.parametrize("name", sorted(EQUATIONS))
def test_an_equation_is_cited_exactly_once_and_at_its_home(name):
    module, _, path = EQUATIONS[name]["home"].partition(":")
    home = functools.reduce(getattr, path.split("."), importlib.import_module(module))
    assert re.search(rf"^\s*Equation: {re.escape(name)}$", home.__doc__, re.MULTILINE)
    assert CITED.count(name) == 1


@pytest.mark.parametrize("name", sorted(EQUATIONS))
def test_an_entry_names_paper_and_number(name):
    assert EQUATIONS[name].keys() == {"paper", "number", "home"}


def test_no_equation_is_cited_that_the_registry_does_not_know():
    assert set(CITED) <= set(EQUATIONS)
