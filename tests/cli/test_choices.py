"""A wrong name is answered in one line, with the nearest right one, before anything heavy."""

import subprocess
import sys

import pytest
import tyro

from mrcom.agents.build import METHODS, SIZES_OF, has_size
from mrcom.agents.modular_config import BEHAVIOURS
from mrcom.agents.mrcom_config import SIZES
from mrcom.agents.presets import BUDGETS
from mrcom.cli import adapt, demo, options
from mrcom.cli.main import main, parse
from mrcom.core.errors import ConfigError
from mrcom.train.adapt_config import AdaptConfig
from mrcom.train.settings import RunConfig

WRONG = [
    ("train --method dremer", "Unknown method 'dremer'. Did you mean 'dreamer'?"),
    ("train --budget tinny", "Unknown budget 'tinny'. Did you mean 'tiny'?"),
    ("train --size smal", "Unknown size 'smal'. Did you mean 'small'?"),
    ("train --reward rech", "Unknown reward 'rech'. Did you mean 'reach'?"),
    ("train --observation plan", "Unknown observation 'plan'. Did you mean 'plain'?"),
    ("train --behaviour sacc", "Unknown behaviour 'sacc'. Did you mean 'sac'?"),
    ("train --prompt exprt", "Unknown prompt 'exprt'. Did you mean 'expert'?"),
    ("train --jacobian-kind jpv", "Unknown jacobian-kind 'jpv'"),
    ("train --latent-error walkr", "Did you mean 'walker'?"),
    ("robustness run --only gravty", "Unknown perturbation 'gravty'. Did you mean 'gravity'?"),
    ("demo --methods mrcom cadmm", "Unknown method 'cadmm'. Did you mean 'cadm'?"),
    ("demo --budget fulll", "Unknown budget 'fulll'. Did you mean 'full'?"),
    ("demo --size debugg", "Unknown size 'debugg'. Did you mean 'debug'?"),
    ("adapt run --learner imagine", "Unknown learner 'imagine'. Did you mean 'imagination'?"),
    ("adapt run --policy-init scrach", "Unknown policy-init 'scrach'. Did you mean 'scratch'?"),
    ("adapt run --reads features", "Unknown reads 'features'. Did you mean 'feature'?"),
    ("adapt run --model frosen", "Unknown model 'frosen'. Did you mean 'frozen'?"),
    ("adapt run --budget tinny", "Unknown budget 'tinny'. Did you mean 'tiny'?"),
    ("evaluate run --budget tinny", "Unknown budget 'tinny'. Did you mean 'tiny'?"),
    ("compare nowhere nothing", "nowhere"),
    ("compare", "A comparison needs two runs"),
    ("demo --methods", "--methods names none"),
    ("benchmark learn --methods", "--methods names none"),
]


@pytest.mark.parametrize(("args", "said"), WRONG, ids=[args for args, _ in WRONG])
def test_a_wrong_name_is_answered_in_one_line(capsys, args, said):
    code = main(args.split())
    shown = capsys.readouterr()
    assert (code, shown.out, shown.err.count("\n")) == (2, "", 1)
    assert shown.err.startswith("error: ") and said in shown.err


@pytest.mark.parametrize("args", ["train --method dremer", "adapt run --learner sacc"])
def test_a_wrong_name_is_answered_before_anything_heavy_is_imported(args):
    code = "import sys; from mrcom.cli.main import main; main(sys.argv[1:]); "
    code += "print('jax' in sys.modules)"
    command = [sys.executable, "-c", code, *args.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_names_are_those_that_the_package_knows():
    assert set(options.METHOD.names) == set(METHODS)
    assert set(options.BUDGET.names) == set(BUDGETS)
    assert set(options.SIZE.names) == set(SIZES)
    assert set(options.BEHAVIOUR.names) == set(BEHAVIOURS)
    assert set(demo.SEVERAL.names) == {*METHODS, "all"}


def test_a_method_trains_at_every_size_that_it_has_and_at_no_other(tmp_path, capsys):
    every = {size for sizes in SIZES_OF.values() for size in sizes}
    assert set(options.ANY_SIZE.names) == every > set(options.SIZE.names)
    for size in every:
        assert parse(["train", "--size", size]).size == size and has_size("dreamer", size)
    path = tmp_path / "run"
    assert main(["train", "--size", "1M", "--budget", "debug", "--run-dir", str(path)]) == 2
    assert "Unknown size '1M'" in capsys.readouterr().err and not path.exists()


@pytest.mark.parametrize("name", adapt.LEARNER.names)
def test_every_learner_can_adapt(name):
    assert AdaptConfig(learner=name).learner == name


def test_every_right_name_is_taken_and_what_is_not_given_is_left():
    given = parse(["train", "--method", "cadm", "--observation", "add_g"])
    assert (given.method, given.observation, given.size, given.behaviour) == (
        "cadm", "add_g", None, None,
    )  # fmt: skip
    assert parse(["adapt", "run", "--reads", "observation"]).reads == "observation"
    assert parse(["demo", "--methods", "sac", "all"]).methods == ("sac", "all")
    assert RunConfig.__dataclass_fields__["prompt"].default in options.PROMPT.names


def test_help_names_every_choice(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    shown = "".join(capsys.readouterr().out.split())
    for choice in (options.METHOD, options.BUDGET, options.BEHAVIOUR):
        assert choice.metavar in shown


def test_choices_hold_wherever_options_are_read():
    with pytest.raises(ConfigError, match="Did you mean 'mamba'"):
        parse(["train", "--method", "mambo"])
    assert tyro.cli(adapt.Adapt, args=["run"]).learner == "sac"
