"""Values of a size are set by name on the command line, kept, and compared by every version."""

import dataclasses

import pytest

from mrcom.cli.main import main, parse
from mrcom.cli.train import config_of
from mrcom.core.config import from_json, to_json
from mrcom.core.errors import CheckpointError, ConfigError
from mrcom.train.checkpoint import Checkpoints
from mrcom.train.log import Counters
from mrcom.train.run import agent_of, open_trained
from mrcom.train.run_folder import RunFolder, create_run
from mrcom.train.settings import RunConfig, training_worlds

DEBUG = ["train", "--budget", "debug", "--bodies", "cheetah", "--prompt", "none"]


def agent_with(*settings: str, options: tuple[str, ...] = ()):
    config = config_of(parse([*DEBUG, *options, "--set", *settings]))
    assert from_json(RunConfig, to_json(config)) == config, "the folder keeps them"
    return agent_of(config, training_worlds(config))


def test_the_agent_has_them_and_nothing_else_changes():
    usual = config_of(parse(DEBUG))
    usual = agent_of(usual, training_worlds(usual))
    given = ("meta_state=bound", "behaviour.sac.slow_rate=0.5", "model.units=24")
    config = agent_with(*given).config
    assert config.meta_state == "bound" and config.behaviour.sac.slow_rate == 0.5
    assert config.model.units == 24
    model = dataclasses.replace(config.model, units=usual.config.model.units)
    sac = dataclasses.replace(config.behaviour.sac, slow_rate=usual.config.behaviour.sac.slow_rate)
    behaviour = dataclasses.replace(config.behaviour, sac=sac)
    back = dataclasses.replace(config, model=model, behaviour=behaviour, meta_state="reweight")
    assert back == usual.config


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("meta_stat=bound", "Unknown setting 'meta_stat'. Did you mean 'meta_state'?"),
        ("model=x", "Unknown setting 'model'"),
        ("model.units", "must be NAME=VALUE"),
        ("model.units=many", "setting model.units='many' must be a whole number, such as 16."),
        ("learning_rate=fast", "must be a number, such as"),
        ("meta_state=bond", "Did you mean 'bound'?"),
        ("learning_rate=-1", "setting learning_rate=-1 must be 0 or more; the nearest is 0."),
        ("learning_rate=nan", "setting learning_rate=nan must be a finite number, such as 0.0004."),
        ("kl.free_nats=inf", "must be a finite number, such as 1.0."),
        ("model.stoch=-4", "setting model.stoch=-4 must be 0 or more"),
        ("model.min_std=-1", "must be 0 or more"),
        ("value_samples=-1", "must be 0 or more"),
        ("model.units=0", "ContextualConfig.units=0 must be at least 1; the nearest is 1."),
        ("model.context.heads=0", "ContextConfig.heads=0 must be at least 1"),
        ("model.context.layers=0", "ContextConfig.layers=0 must be at least 1"),
        ("behaviour.sac.num_critics=0", "SACConfig.num_critics=0 must be at least 1"),
        ("behaviour.sac.discount=1.5", "discount=1.5 must lie in [0, 1]; the nearest is 1."),
        ("windows.per_scenario=0", "Windows.per_scenario=0 must be at least 1"),
        ("windows.scenarios=0", "Windows.scenarios=0 must be at least 1"),
        ("windows.length=0", "Windows.length=0 must be at least 1"),
        ("model_steps=0", "MrComConfig.model_steps=0 must be at least 1"),
        ("decoder_std=0", "MrComConfig.decoder_std=0.0 must be above 0"),
    ],
)
def test_what_cannot_be_set_is_refused_in_one_line(capsys, tmp_path, setting, said):
    assert main([*DEBUG, "--run-dir", str(tmp_path / "run"), "--set", setting]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and said in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("method", "setting", "said"),
    [
        ("dreamer", "model.groups=0", "RSSMConfig.groups=0 must be at least 1"),
        ("dreamer", "model.unimix=2", "RSSMConfig.unimix=2.0 must lie in [0, 1); the nearest is"),
        ("dreamer", "horizon=0", "DreamerConfig.horizon=0 must be at least 1"),
        ("mamba", "starts=0", "MambaConfig.starts=0 must be at least 1"),
        ("dreamer", "optimizer.momentum=2", "LaPropConfig.momentum=2.0 must lie in [0, 1]"),
        ("mamba", "model.rssm.encoder_layers=0", "--set model.rssm.encoder_layers=0: "),
        ("cadm", "particles=0", "CadmConfig.particles=0 must be at least 1"),
    ],
)
def test_every_method_has_ranges(capsys, tmp_path, method, setting, said):
    args = ["--method", method, "--run-dir", str(tmp_path / "run"), "--set", setting]
    assert main([*DEBUG, *args]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and said in err
    assert not (tmp_path / "run").exists()


def test_parts_of_the_state_are_words_with_a_plus_between_them(capsys, tmp_path):
    for words, parts in (("deter", ("deter",)), ("stoch+deter", ("stoch", "deter"))):
        agent = agent_with(f"jacobian.blocks={words}", options=("--jacobian", "0.1"))
        assert agent.config.jacobian.blocks == parts
    for words, said in (("deter+", "must be words such as"), ("detr", "Did you mean 'deter'?")):
        given = ["--jacobian", "0.1", "--set", f"jacobian.blocks={words}"]
        assert main([*DEBUG, "--run-dir", str(tmp_path / "run"), *given]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and said in err
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--jacobian-kind", "spectral"], "jacobian.kind='spectral' is about: give --jacobian"),
        (["--set", "jacobian.share=0.5"], "jacobian.share=0.5 is about: give --jacobian WEIGHT"),
        (["--set", "jacobian.share=0.5,1"], "jacobian.share=0.5 is about: give --jacobian WEIGHT"),
        (["--method", "sac", "--jacobian-kind", "vjp"], "SAC has no latent dynamics"),
        (["--method", "cadm", "--set", "jacobian.share=0.5"], "CaDM has no latent dynamics"),
        (["--jacobian", "1", "--without", "deter", "aux"], "Add 'deter' or 'aux'"),
    ],
)
def test_what_would_do_nothing_to_a_jacobian_is_refused_in_one_line(
    capsys, tmp_path, options, said
):
    assert main([*DEBUG, "--run-dir", str(tmp_path / "run"), *options]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and said in err
    assert not (tmp_path / "run").exists()


def test_a_setting_that_is_given_twice_is_refused(capsys, tmp_path):
    twice = ["learning_rate=1e-4", "model.units=24", "learning_rate=2e-4"]
    assert main([*DEBUG, "--run-dir", str(tmp_path / "run"), "--set", *twice]) == 2
    assert "setting 'learning_rate' is given 2 times" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def saved(path, config, agent) -> RunFolder:
    """A run with a checkpoint that holds nothing but what is written beside its arrays."""
    folder = create_run(path, config)
    checkpoints = Checkpoints(folder.checkpoints)
    meta = {"config": config, "agent": agent, "counters": Counters(), "phase": 0, "log_position": 0}
    checkpoints.save(0, {}, meta=meta)
    checkpoints.close()
    return folder


def test_a_size_that_meant_something_else_is_refused_naming_what(capsys, tmp_path):
    config = config_of(parse(DEBUG))
    agent = to_json(agent_of(config, training_worlds(config)).config)
    agent["model"]["units"] += 1
    folder = saved(tmp_path / "run", config, agent)
    assert main(["evaluate", str(folder.path)]) == 2
    assert "whose size 'debug' has model.units=17, not 16" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["jvp", "spectral"])
def test_a_checkpoint_older_than_iterations_is_refused_only_where_they_count(tmp_path, kind):
    config = config_of(parse([*DEBUG, "--jacobian", "1", "--jacobian-kind", kind]))
    agent = to_json(agent_of(config, training_worlds(config)).config)
    del agent["jacobian"]["iterations"]
    said = "jacobian.iterations=None, not 10" if kind == "spectral" else "is absent there"
    with pytest.raises(CheckpointError, match=said):
        open_trained(saved(tmp_path / "run", config, agent))


def test_how_the_jacobian_is_measured_can_be_set_and_a_latent_error_has_its_own_option():
    taken = {"options": ("--jacobian", "0.1")}
    assert agent_with("jacobian.probes=7", **taken).config.jacobian.probes == 7
    assert agent_with("jacobian.iterations=7", **taken).config.jacobian.iterations == 7
    with pytest.raises(ConfigError, match="give --latent-error"):
        agent_with("latent_error.drift=(0.1, 0.1)")
