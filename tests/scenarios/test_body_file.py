"""Bodies of the user's own come from a Python file, which is kept as text."""

import pathlib
import shutil

import pytest

import mrcom
from mrcom.core.config import from_json, to_json
from mrcom.core.errors import ConfigError
from mrcom.scenarios import BODIES, BodyFile, beside, read_body_file
from mrcom.scenarios import bodies as registry
from mrcom.scenarios.splits import Box, sample_scenarios
from mrcom.simulate import Simulator

EXAMPLE = pathlib.Path(mrcom.__file__).parents[2] / "examples" / "crawler.py"


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    monkeypatch.setattr(registry, "_bodies", dict(registry._bodies))
    monkeypatch.setattr(registry, "BODIES", registry._bodies)


@pytest.fixture
def copied(tmp_path):
    """The example, elsewhere and under another name, so that other tests do not know it."""
    for name in ("crawler.py", "crawler.xml"):
        shutil.copy(EXAMPLE.with_name(name), tmp_path / name)
    return tmp_path / "crawler.py"


def test_its_bodies_are_known_by_name_once_it_is_registered(copied):
    file = read_body_file(copied)
    assert file.name == "crawler.py" and file.source == copied.read_text()
    assert dict(file.texts) == {"crawler.xml": copied.with_name("crawler.xml").read_text()}
    assert file.register() == ("crawler",)
    assert registry.body("crawler").xml == dict(file.texts)["crawler.xml"]
    assert file.register() == ("crawler",)  # again: the same bodies


def test_what_was_kept_of_it_needs_no_file(copied):
    stored = to_json(read_body_file(copied))
    for path in copied.parent.iterdir():
        path.unlink()
    again = from_json(BodyFile, stored)
    assert again.register() == ("crawler",)
    simulator = Simulator(sample_scenarios("crawler", Box(20, 100), 3, 0))
    assert simulator.reset(seed=0).shape == (3, 9)


def test_two_bodies_of_one_name_are_refused(copied):
    read_body_file(copied).register()
    copied.write_text(copied.read_text() + "\n")
    with pytest.raises(ConfigError, match="Another body is called 'crawler'"):
        read_body_file(copied).register()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("x = 1\n", "own.py makes no body: it needs a variable that holds an Embodiment"),
        ("from mrcom.scenarios.bodies import HOPPER\n", "own.py makes no body"),
        ("x = 1\ny = x / 0\n", r"own.py, line 2, does not run \(ZeroDivisionError"),
        ("x = (\n", r"own.py, line 1, does not run \(SyntaxError"),
        ("import mrcom.scenarios as s\ns.beside('a.xml')\n", "a.xml cannot be read .*there are b"),
        ("import mrcom.scenarios as s\ns.Embodiment('a')\n", r"line 2, does not run \(TypeError"),
    ],
)
def test_a_file_that_makes_no_body_is_refused_in_one_line(tmp_path, source, words):
    (tmp_path / "b.xml").write_text("<mujoco/>")
    (tmp_path / "own.py").write_text(source)
    with pytest.raises(ConfigError, match=words) as caught:
        read_body_file(tmp_path / "own.py")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named_with_those_that_are(copied):
    with pytest.raises(ConfigError, match=r"crawlr\.py cannot be read \(No such.*crawler\.py"):
        read_body_file(copied.with_name("crawlr.py"))


def test_texts_are_only_read_for_files_of_bodies():
    with pytest.raises(ConfigError, match="read yours by `read_body_file`"):
        beside("crawler.xml")


def test_the_example_is_no_body_of_the_package():
    assert "crawler" not in BODIES
