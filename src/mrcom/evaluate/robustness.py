"""What a policy is still worth when its world, what it sees or its latent state is disturbed."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from mrcom.agents.disturbed import DisturbedPolicy
from mrcom.core.errors import ConfigError
from mrcom.core.generators import named_generator
from mrcom.core.progress import Bar, progress
from mrcom.core.steps import Masks
from mrcom.evaluate.evaluate import MakePolicy
from mrcom.evaluate.judge import Contestant, Trial
from mrcom.evaluate.normalise import normalised_score
from mrcom.models.latent_error import LatentError
from mrcom.scenarios import images
from mrcom.scenarios.observation import PLAIN, ObservationFunction
from mrcom.scenarios.scenario import Scenario
from mrcom.simulate.listing import sliding_friction, total_mass
from mrcom.simulate.rollout import Policy, SeesPictures

GRAVITY = 9.81
"""Of a scenario whose factor is 1 [m/s^2]."""
UNDISTURBED = "none"
"""Name of the perturbation that is none: every curve's first point."""

ChangePictures = Callable[
    [UInt8[np.ndarray, "*B S S 3"], float, np.random.Generator], UInt8[np.ndarray, "*B S S 3"]
]
"""Pictures at a degree of what is wrong with them."""


@dataclasses.dataclass(frozen=True)
class Perturbation:
    """One way in which things get worse, by degrees."""

    title: str
    """What figures call it."""
    unit: str
    """Of its degrees."""
    degrees: tuple[float, ...]
    """That are measured."""
    nominal: float
    """The degree at which nothing is perturbed."""
    scenario: Callable[[Scenario, float], Scenario] = lambda scenario, _: scenario
    """The target at a degree."""
    error: Callable[[float], LatentError] | None = None
    """The error of latent states at a degree, where that is what is perturbed."""
    picture: ChangePictures | None = None
    """What becomes of pictures at a degree, where that is what is perturbed."""
    needs: str = ""
    """What must be seen for it to matter: `vectors` or `images`; empty where it always does."""
    exact: Callable[[Scenario], str] = lambda _: ""
    """What a perturbed target then has, where its degree alone does not say that."""


def noisy(scenario: Scenario, share: float) -> Scenario:
    """Gaussian noise on every quantity, in shares of its standard deviation."""
    _check_plain(scenario)
    std = tuple(share * value for value in scenario.embodiment.obs_std)
    return dataclasses.replace(scenario, observation=ObservationFunction("add_g", noise_std=std))


def masked(scenario: Scenario, share: float) -> Scenario:
    """A share of the quantities, rounded up, read 0: others at each step."""
    _check_plain(scenario)
    num = math.ceil(share * scenario.embodiment.obs)
    return dataclasses.replace(scenario, observation=ObservationFunction("msk_r", masked=num))


def _factor(name: str) -> Callable[[Scenario, float], Scenario]:
    return lambda scenario, by: dataclasses.replace(
        scenario, **{name: getattr(scenario, name) * by}
    )


PERTURBATIONS: Mapping[str, Perturbation] = {
    "noise": Perturbation(
        "noise on observations", "standard deviations of each quantity", (0.1, 0.3, 1.0), 0.0,
        noisy, needs="vectors",
    ),
    "masked": Perturbation(
        "masked observations", "share of the quantities, others each step", (0.1, 0.25, 0.5), 0.0,
        masked,
        exact=lambda one: f"{one.observation.masked} of {one.embodiment.obs} quantities",
        needs="vectors",
    ),
    "image-noise": Perturbation(
        "noise on pictures", "share of full brightness", (0.05, 0.1, 0.2), 0.0,
        picture=images.noisy, needs="images",
    ),
    "image-rotation": Perturbation(
        "turned pictures", "degrees", (5.0, 15.0, 45.0), 0.0,
        picture=lambda seen, degrees, _: images.rotated(seen, degrees), needs="images",
    ),
    "image-masked": Perturbation(
        "masked pictures", "share of the pixels, others each step", (0.1, 0.25, 0.5), 0.0,
        picture=images.masked, needs="images",
    ),
    "gravity": Perturbation(
        "gravity", "times the target's", (0.5, 0.75, 1.25, 1.5), 1.0, _factor("gravity"),
        exact=lambda one: f"{GRAVITY * one.gravity:.4g} m/s^2",
    ),
    "friction": Perturbation(
        "friction", "times the target's", (0.25, 0.5, 2.0, 4.0), 1.0, _factor("friction"),
        exact=lambda one: "sliding " + " to ".join(
            dict.fromkeys(f"{ends:.3g}" for ends in sliding_friction(one))),
    ),
    "mass": Perturbation(
        "mass", "times the target's", (0.5, 0.75, 1.25, 1.5), 1.0, _factor("mass"),
        exact=lambda one: f"{total_mass(one):.4g} kg",
    ),
    "latent-error": Perturbation(
        "latent error without drift", "variance", (0.1, 1.0, 5.0), 0.0,
        error=lambda variance: LatentError(variance=(variance, variance)),
    ),
    "latent-drift": Perturbation(
        "latent drift", "mean error of each entry", (0.1, 1.0, 5.0), 0.0,
        error=lambda drift: LatentError(drift=(drift, drift)),
    ),
}  # fmt: skip
"""All perturbations by name. Degrees are our choice but the variance 0.1 and 5 and the drift up to
5, which are those of the figures of arXiv 2501.00195."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """A policy in all targets, at one degree of one perturbation."""

    perturbation: str
    degree: float
    unit: str
    policy: str
    seed: int
    """Of the run."""
    evaluation_seed: int
    """Of the episodes, and of everything random that is done to them."""
    budget: str
    updates: int
    """Gradient steps of what acted: with another number it is another policy; likewise below."""
    env_steps: int
    """Real control steps that it took in each target before."""
    settings: str
    """How it was found, where that differs from what is usual."""
    targets: tuple[str, ...]
    """Hashes of the undisturbed targets."""
    returns: tuple[tuple[float | None, ...], ...]
    """Of every episode in every target; null of an expert where the body has none."""
    normalised: tuple[tuple[float | None, ...], ...]
    """0 is random and 100 the expert in the *undisturbed* target; null where they are too close."""
    exact: tuple[str, ...] = ()
    """What each target had at that degree, with its unit; empty where the degree says it."""

    @property
    def key(self) -> tuple[Any, ...]:
        """What makes two cells the same measurement."""
        return (
            self.perturbation, self.degree, self.policy, self.seed, self.evaluation_seed,
            self.budget, self.updates, self.env_steps, self.settings, self.targets,
        )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Study:
    """Policies of a run, and by what they are tried."""

    policies: Mapping[str, Contestant]
    """By name."""
    latent: Set[str]
    """Those of them that act on a latent state: the others feel no error of it, and see no
    pictures."""
    trial: Trial
    """In the undisturbed targets."""
    perturbations: Mapping[str, Perturbation]
    run_seed: int

    def cells(self, known: Sequence[Cell]) -> Iterator[Cell]:
        """Every cell that is not known yet, as it is found.

        Random actions and experts come first: the scale of all scores.

        Raises:
            ConfigError: a target cannot be perturbed in that way; before anything is measured.
        """
        found = {cell.key: cell for cell in known}
        missing = [cell for cell in self.wanted() if cell.key not in found]
        steps = self.trial.budget.evaluation_steps
        with progress("perturbing", total=steps * len(missing)) as bar:
            for empty in missing:
                bar.advance(0, text=f"{empty.policy}, {empty.perturbation} {empty.degree:g}")
                returns = _rows(self._returns(empty, bar))
                found[empty.key] = dataclasses.replace(empty, returns=returns)
                yield self._scored(found[empty.key], found)

    def wanted(self) -> list[Cell]:
        """Every cell, without returns: first the undisturbed ones of references and policies."""
        cells = [(UNDISTURBED, 0.0, name) for name in ("random", "expert", *self.policies)]
        cells += [
            (kind, degree, name)
            for kind, one in self.perturbations.items()
            for degree in one.degrees
            for name in self.policies
            if (one.error is None and one.picture is None) or name in self.latent
        ]
        return [self._empty(*cell) for cell in cells]

    def _empty(self, kind: str, degree: float, name: str) -> Cell:
        trial = self.trial
        one = self.policies.get(name)
        acting = (0, 0, "") if one is None else (one.updates, one.env_steps, one.settings)
        unit = self.perturbations[kind].unit if kind != UNDISTURBED else ""
        targets = tuple(scenario.hash for scenario in trial.scenarios)
        given = self.run_seed, trial.seed, trial.budget.name, *acting, targets
        cell = Cell(kind, degree, unit, name, *given, returns=(), normalised=())
        if kind == UNDISTURBED:
            return cell
        way = self.perturbations[kind]
        exact = tuple(way.exact(way.scenario(target, degree)) for target in trial.scenarios)
        return dataclasses.replace(cell, exact=exact if any(exact) else ())

    def _returns(self, cell: Cell, bar: Bar) -> Float[np.ndarray, "N E"]:
        trial, name, degree = self.trial, cell.policy, cell.degree
        if name == "random":
            return trial.random_returns(bar)
        if name == "expert":
            return trial.expert_returns(bar)
        make: MakePolicy = self.policies[name].make_policy
        if cell.perturbation == UNDISTURBED:
            return trial.returns(make, bar)
        one = self.perturbations[cell.perturbation]
        error = None if one.error is None else one.error(degree)
        # What acts was made for the target and is not told that it changed: its prompt, too, is
        # from there.
        rows = tuple(s for s in trial.scenarios for _ in range(trial.budget.evaluation_episodes))

        def unaware(_: tuple[Scenario, ...], masks: Masks) -> Policy:
            policy = make(rows, masks)
            if (change := one.picture) is not None:
                rng = named_generator(trial.seed, "pictures", cell.perturbation)
                return OtherPictures(policy, lambda seen: change(seen, degree, rng))
            return policy if error is None else DisturbedPolicy(policy, error, seed=trial.seed)

        changed = tuple(one.scenario(target, degree) for target in trial.scenarios)
        return dataclasses.replace(trial, scenarios=changed).returns(unaware, bar)

    def _scored(self, cell: Cell, found: Mapping[tuple[Any, ...], Cell]) -> Cell:
        ends = [found.get(self._empty(UNDISTURBED, 0.0, name).key) for name in ("random", "expert")]
        if None in ends:  # of random actions themselves, before the experts are known
            nothing = np.full_like(np.array(cell.returns, float), np.nan)
            return dataclasses.replace(cell, normalised=_rows(nothing))
        # No number where a body has no expert.
        zero, hundred = (np.array(end.returns, float).mean(axis=1) for end in ends if end)
        score = normalised_score(np.array(cell.returns, float), zero, hundred)
        return dataclasses.replace(cell, normalised=_rows(score))


class OtherPictures:
    """A policy that is shown something else than there is to see, and acts on it."""

    def __init__(self, policy: Policy, change: Callable[[np.ndarray], np.ndarray]):
        self._policy, self._change = policy, change

    def start(self, num: int) -> Any:
        """What the policy itself remembers."""
        return self._policy.start(num)

    def show(self, image: UInt8[np.ndarray, "N S S 3"]) -> None:
        """The changed pictures, to a policy that sees some."""
        if isinstance(self._policy, SeesPictures):
            self._policy.show(self._change(image))

    def act(
        self,
        carry: Any,
        obs: Float[np.ndarray, "N O"],
        action: Float[np.ndarray, "N A"],
        reward: Float[np.ndarray, " N"],
    ) -> tuple[np.ndarray, Any]:
        """The policy's own next action."""
        return self._policy.act(carry, obs, action, reward)


def _rows(values: Float[np.ndarray, "N E"]) -> tuple[tuple[float | None, ...], ...]:
    finite = lambda value: float(value) if math.isfinite(value) else None
    return tuple(tuple(map(finite, row)) for row in np.asarray(values))


def _check_plain(scenario: Scenario) -> None:
    if scenario.observation != PLAIN:
        raise ConfigError(
            f"The observations of {scenario.name} are perturbed already "
            f"({scenario.observation.kind}): choose perturbations other than noise and masked "
            f"with --only, such as --only gravity."
        )
