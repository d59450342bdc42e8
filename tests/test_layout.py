"""The rules of the house that no linter knows."""

import ast
import pathlib
import re
import tomllib

import pytest

import mrcom

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "mrcom"
SOURCES = sorted(PACKAGE.rglob("*.py"))
FOLDERS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
BELOW_AGENTS = (
    "core",
    "nn",
    "scenarios",
    "objectives",
    "simulate",
    "replay",
    "models",
    "behaviour",
)
METHODS = re.compile(r"dreamer|mamba|cadm|mrcom", re.IGNORECASE)
# The package, its command line and its root error have the name of one method.
PACKAGE_NAMES = re.compile(r"\bmrcom(\.\w+)+|`mrcom [^`]*(?:`|$)|\bMrcomError\b|[`'\"]mrcom[`'\"]")


def spoken_by_code(path: pathlib.Path) -> list[tuple[int, str]]:
    """Identifiers and strings of a file, without imports, docstrings and comments."""
    found = []
    tree = ast.parse(path.read_text())
    prose = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Import | ast.ImportFrom | ast.alias):
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) not in prose:
                found.append((line, node.value))
            continue
        for field in ("name", "id", "attr", "arg"):
            if isinstance(getattr(node, field, None), str):
                found.append((line, getattr(node, field)))
    return found


@pytest.mark.parametrize("folder", BELOW_AGENTS)
def test_code_below_agents_names_no_method(folder):
    hits = [
        f"{path.relative_to(PACKAGE)}:{line}: {text!r}"
        for path in sorted((PACKAGE / folder).rglob("*.py"))
        for line, text in spoken_by_code(path)
        if METHODS.search(PACKAGE_NAMES.sub("", text)) and text != "mrcom"
    ]
    assert hits == []


def test_the_search_for_method_names_finds_them(tmp_path):
    path = tmp_path / "a.py"
    path.write_text('"""As in Dreamer."""\nimport mrcom\nuse_mamba = 1  # cadm\nkind = "dreamer"\n')
    hits = [text for _, text in spoken_by_code(path) if METHODS.search(text)]
    assert sorted(hits) == ["dreamer", "use_mamba"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_is_short(path):
    assert len(path.read_text().splitlines()) < 300


def test_annotations_stay_objects():
    # As strings, the shapes in them would no longer be checked.
    found = [p for p in [*SOURCES, *ROOT.glob("tests/**/*.py")] if "__future__" in imports(p)]
    assert not found


def imports(path: pathlib.Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_text()))
    return {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_architecture_page_has_a_row_for_every_folder(folder):
    assert f"| `{folder}/` |" in (ROOT / "docs" / "architecture.md").read_text()


def test_the_architecture_page_names_no_folder_that_is_gone():
    page = (ROOT / "docs" / "architecture.md").read_text()
    assert set(re.findall(r"^\| `(\w+)/` \|", page, re.MULTILINE)) == set(FOLDERS)


def test_the_architecture_page_shows_the_layers_of_the_import_contract():
    page = (ROOT / "docs" / "architecture.md").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (contract,) = project["tool"]["importlinter"]["contracts"]
    for layer in contract["layers"]:
        assert re.search(rf"^\s*{re.escape(layer)}\s*$", page, re.MULTILINE), layer


def test_the_version_is_written_once_more_and_equally():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert mrcom.__version__ == project["project"]["version"]


def test_no_two_test_files_of_plain_folders_have_one_name():
    # Modules of folders without `__init__.py` have no other name: pytest refuses the second.
    plain = [path for path in ROOT.glob("tests/**/*.py") if path.name != "conftest.py"]
    names = [path.name for path in plain if not (path.parent / "__init__.py").exists()]
    assert [name for name in set(names) if names.count(name) > 1] == []


def test_the_lock_names_no_host():
    assert "://" not in (ROOT / "requirements.lock").read_text()


PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
