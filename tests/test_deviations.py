"""The pages that name configuration values are kept true."""

import ast
import dataclasses
import functools
import importlib
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = (DOCS / "deviations.md", DOCS / "glossary.md", *sorted((DOCS / "methods").glob("*.md")))
VALUES = [
    match for page in PAGES for match in re.findall(r"`(\w+)\.(\w+) = ([^`]+)`", page.read_text())
]


@functools.cache
def home_of(name: str) -> str:
    """The module that defines a class."""
    for path in sorted((ROOT / "src").rglob("*.py")):
        if re.search(rf"^class {name}\b", path.read_text(), re.MULTILINE):
            return ".".join(path.relative_to(ROOT / "src").with_suffix("").parts)
    raise LookupError(f"docs name the class {name}, which no file defines")


@pytest.mark.parametrize(("kind", "field", "value"), VALUES, ids=lambda part: str(part))
def test_a_default_in_the_docs_is_the_default_in_the_code(kind, field, value):
    cls = getattr(importlib.import_module(home_of(kind)), kind)
    fields = {f.name: f for f in dataclasses.fields(cls)}
    assert field in fields, f"docs name {kind}.{field}, which does not exist"
    assert fields[field].default == ast.literal_eval(value)


def test_there_is_something_to_check():
    assert len(VALUES) > 10


def test_every_deviation_in_the_code_has_its_place_in_the_docs():
    page = (ROOT / "docs" / "deviations.md").read_text()
    for path in sorted((ROOT / "src").rglob("*.py")):
        for tag in re.findall(r"DEVIATION\((\w+)\)", path.read_text()):
            where = str(path.relative_to(ROOT / "src" / "mrcom"))
            assert f"`{where}` | {tag} |" in page, f"no row for DEVIATION({tag}) of {where}"
