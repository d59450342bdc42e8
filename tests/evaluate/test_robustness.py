"""Perturbations of targets, and a study of them that can be interrupted."""

import dataclasses
import json

import numpy as np
import pytest

from mrcom.agents.presets import budget
from mrcom.core.errors import ConfigError, RunFolderError
from mrcom.evaluate import robustness
from mrcom.evaluate.judge import Trial
from mrcom.evaluate.robustness import PERTURBATIONS, Cell, OtherPictures, Study
from mrcom.evaluate.scores import append_record, read_records
from mrcom.models.latent_error import LatentError
from mrcom.scenarios.layout import layout_of, masks_of
from mrcom.scenarios.scenario import Scenario
from mrcom.simulate.rollout import RandomPolicy
from mrcom.simulate.simulator import Simulator
from mrcom.train.contestants import Contestant

TARGETS = (Scenario("cheetah", 1.0), Scenario("walker", 1.0, gravity=0.8))
AMOUNT = dataclasses.replace(budget("debug"), evaluation_episodes=2, evaluation_steps=4)
TRIAL = Trial(TARGETS, (True, True), layout_of(TARGETS), AMOUNT, 3)


def study_of(*kinds, seen=None, latent=(), trial=TRIAL):
    def make(rows, masks):
        if seen is not None:
            seen.append(rows)
        return RandomPolicy(masks, seed=0)

    one = Contestant(make, 0, 7)
    return Study({"behaviour": one}, set(latent), trial, {k: PERTURBATIONS[k] for k in kinds}, 0)


@pytest.mark.parametrize("name", ["gravity", "friction", "mass"])
def test_a_factor_is_that_of_the_target_times_the_degree(name):
    target = Scenario("walker", 1.0, gravity=0.8, friction=0.5, mass=1.5)
    changed = PERTURBATIONS[name].scenario(target, 1.25)
    assert getattr(changed, name) == pytest.approx(1.25 * getattr(target, name))
    assert dataclasses.replace(changed, **{name: getattr(target, name)}) == target


def test_noise_is_in_standard_deviations_of_each_quantity():
    changed = PERTURBATIONS["noise"].scenario(TARGETS[0], 0.3)
    assert changed.observation.kind == "add_g"
    np.testing.assert_allclose(
        changed.observation.noise_std, 0.3 * np.asarray(TARGETS[0].embodiment.obs_std)
    )


def test_a_share_of_the_quantities_is_masked_rounded_up():
    changed = PERTURBATIONS["masked"].scenario(TARGETS[0], 0.25)
    assert (changed.observation.kind, changed.observation.masked) == ("msk_r", 5)  # of 17
    assert PERTURBATIONS["masked"].exact(changed) == "5 of 17 quantities"


def test_latent_errors_are_a_variance_or_a_drift_alone():
    assert PERTURBATIONS["latent-error"].error(5.0) == LatentError(variance=(5.0, 5.0))
    assert PERTURBATIONS["latent-drift"].error(5.0) == LatentError(drift=(5.0, 5.0))


def test_what_is_observed_otherwise_already_is_refused_before_anything_is_measured():
    other = PERTURBATIONS["noise"].scenario(TARGETS[0], 0.1)
    seen = []
    study = study_of("masked", seen=seen, trial=dataclasses.replace(TRIAL, scenarios=(other,)))
    with pytest.raises(ConfigError, match="--only gravity"):
        next(study.cells([]))
    assert seen == []


@pytest.fixture(scope="module")
def measured():
    """All cells of a study of gravity, and the rows that the policy was made for."""
    seen = []
    return list(study_of("gravity", seen=seen).cells([])), seen


def test_references_come_first_and_every_degree_once(measured):
    cells, _ = measured
    assert [(c.policy, c.perturbation, c.degree) for c in cells] == [
        ("random", "none", 0.0),
        ("expert", "none", 0.0),
        ("behaviour", "none", 0.0),
        *(("behaviour", "gravity", degree) for degree in (0.5, 0.75, 1.25, 1.5)),
    ]
    assert {np.shape(cell.returns) for cell in cells} == {(2, 2)}
    assert len({cell.returns for cell in cells}) > 4, "gravity changes what happens"


def test_exact_values_have_their_unit(measured):
    cells, _ = measured
    assert cells[-1].exact == ("14.71 m/s^2", "11.77 m/s^2")  # 1.5 x 9.81, of which 0.8


def test_mass_and_friction_are_said_beside_their_factors():
    exact = lambda name, body: PERTURBATIONS[name].exact(
        PERTURBATIONS[name].scenario(Scenario(body, 1.0), 0.5)
    )
    assert exact("mass", "cheetah") == "7 kg"  # of 14
    assert exact("friction", "walker") == "sliding 0.35"  # of 0.7
    assert exact("friction", "quadruped") == "sliding 0.5 to 0.75"  # toes hold better than shins


def test_a_policy_is_made_for_the_target_and_not_told_of_the_change(measured):
    _, seen = measured
    assert len(seen) == 5
    assert all(rows == tuple(t for t in TARGETS for _ in range(2)) for rows in seen)


def test_scores_are_on_the_scale_of_the_undisturbed_target():
    reference = lambda name, *rows: (name, tuple(rows))
    known = []
    study = study_of("mass")
    wanted = {cell.policy: cell for cell in study.wanted() if cell.perturbation == "none"}
    ends = (reference("random", (0.0, 0.0), (1.0, 3.0)), reference("expert", (50.0, 150.0), (5, 5)))
    for name, returns in ends:
        floats = tuple(tuple(map(float, row)) for row in returns)
        known.append(dataclasses.replace(wanted[name], returns=floats))
    found = list(study.cells(known))
    for cell in found:
        np.testing.assert_allclose(cell.normalised[0], cell.returns[0])  # 0 and 100
        assert cell.normalised[1] == (None, None)  # 2 and 5 are too close
    assert len(found) == 5


def test_a_body_without_expert_has_returns_and_no_score():
    target = (Scenario("quadruped", 1.0),)
    trial = dataclasses.replace(TRIAL, scenarios=target, inside=(True,), layout=layout_of(target))
    found = list(study_of("gravity", trial=trial).cells([]))
    assert [cell.returns for cell in found if cell.policy == "expert"] == [((None, None),)]
    assert all(cell.normalised == ((None, None),) for cell in found)
    assert np.isfinite([cell.returns for cell in found if cell.policy != "expert"]).all()


def test_policies_without_a_latent_state_have_no_cells_of_its_errors():
    kinds = lambda latent: {
        c.perturbation for c in study_of("latent-error", latent=latent).wanted()
    }
    assert kinds(()) == {"none"}
    assert kinds(("behaviour",)) == {"none", "latent-error"}


class Watcher(RandomPolicy):
    """Remembers what it was shown."""

    shown = None

    def show(self, image):
        self.shown = image


def test_what_a_policy_is_shown_is_changed_and_its_actions_are_its_own():
    watcher = Watcher(masks_of(TARGETS, TRIAL.layout), seed=0)
    policy = OtherPictures(watcher, lambda seen: 255 - seen)
    picture = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    policy.show(picture)
    np.testing.assert_array_equal(watcher.shown, 255 - picture)
    nothing = [np.zeros((2, n), np.float32) for n in (TRIAL.layout.obs, TRIAL.layout.act)]
    given = (*nothing, np.zeros(2, np.float32))
    ours, theirs = (one.act(one.start(2), *given)[0] for one in (policy, watcher))
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("kind", ["image-noise", "image-rotation", "image-masked"])
def test_pictures_are_worse_by_degrees_and_whole_at_none(kind):
    one, picture = PERTURBATIONS[kind], np.full((2, 16, 16, 3), 100, np.uint8)
    picture[:, 4:8, 2:5] = 250
    change = lambda degree: one.picture(picture, degree, np.random.default_rng(0)).astype(float)
    np.testing.assert_array_equal(change(one.nominal), picture)
    apart = [np.square(change(degree) - picture).mean() for degree in one.degrees]
    assert 0 < apart[0] < apart[1] < apart[2]


def test_only_policies_that_see_pictures_have_cells_of_theirs():
    kinds = lambda latent: {c.perturbation for c in study_of("image-noise", latent=latent).wanted()}
    assert kinds(()) == {"none"}
    assert kinds(("behaviour",)) == {"none", "image-noise"}


def test_finished_cells_are_read_again_and_not_measured_again(measured, tmp_path):
    cells, _ = measured
    file, seen = tmp_path / "robustness.jsonl", []
    for cell in cells[:5]:
        append_record(file, cell)
    with file.open("a") as torn:
        torn.write('{"perturbation": "gra')  # what a killed run leaves behind
    known = read_records(file, Cell)
    assert known == cells[:5]
    rest = list(study_of("gravity", seen=seen).cells(known))
    assert rest == cells[5:] and len(seen) == 2
    append_record(file, rest[0])
    assert read_records(file, Cell) == cells[:6]


def test_another_budget_seed_or_policy_is_another_cell(measured):
    cells, _ = measured
    for change in ({"budget": "tiny"}, {"evaluation_seed": 9}, {"updates": 8}, {"degree": 2.0},
                   {"env_steps": 9}, {"settings": "model finetune"}):  # fmt: skip
        assert dataclasses.replace(cells[-1], **change).key != cells[-1].key


def test_a_policy_that_was_found_otherwise_is_measured_again(measured):
    cells, _ = measured
    study = study_of("gravity")
    before = study.policies["behaviour"]
    for change in ({"env_steps": 9}, {"settings": "model finetune"}, {"updates": 8}):
        other = {"behaviour": dataclasses.replace(before, **change)}
        found = list(dataclasses.replace(study, policies=other).cells(cells))
        assert {cell.policy for cell in found} == {"behaviour"} and len(found) == 5
        assert all(getattr(c, name) == value for c in found for name, value in change.items())


def test_a_file_that_does_not_say_how_policies_were_found_is_refused(measured, tmp_path):
    cells, _ = measured
    file = tmp_path / "robustness.jsonl"
    append_record(file, cells[0])
    old = json.loads(file.read_text())
    del old["settings"], old["env_steps"]
    file.write_text(json.dumps(old) + "\n")
    with pytest.raises(
        RunFolderError, match=r"another version's.*'env_steps'.* move the file away"
    ):
        read_records(file, Cell)


def test_a_damaged_line_is_named(tmp_path):
    file = tmp_path / "robustness.jsonl"
    file.write_text(json.dumps({"perturbation": "gravity", "degre": 1}) + "\n")
    with pytest.raises(RunFolderError, match=r"line 1 is damaged.*degre"):
        read_records(file, Cell)
    assert read_records(tmp_path / "none.jsonl", Cell) == []


def test_what_is_known_of_gravity_is_the_simulators():
    import mujoco

    assert -mujoco.MjModel.from_xml_string("<mujoco/>").opt.gravity[2] == robustness.GRAVITY
    assert isinstance(Cell, type)


@pytest.mark.parametrize("body", ["hopper", "walker", "cheetah", "quadruped"])
def test_perturbed_targets_begin_as_the_target_does_unless_the_body_settles_first(body):
    plain = Scenario(body, 1.0)
    factors = ("gravity", "friction", "mass")
    changed = [PERTURBATIONS[name].scenario(plain, 1.5) for name in factors]
    starts = []
    for scenario in (plain, *changed):
        simulator = Simulator([scenario], num_threads=1)
        simulator.reset(seed=0)
        starts.append(simulator._herds[0].physics.field("qpos")[0].copy())
    for start in starts[1:]:
        assert np.array_equal(start, starts[0]) == (body != "cheetah")
        np.testing.assert_allclose(start, starts[0], atol=0.5)
