"""Boxes of scenario parameters, samples from them, and pairs of boxes to train and test in."""

import dataclasses
import math
import re

import numpy as np

from mrcom.core.errors import ConfigError, unknown
from mrcom.core.generators import named_generator
from mrcom.scenarios.bodies import body as body_named
from mrcom.scenarios.embodiment import Real
from mrcom.scenarios.observation import observation_function
from mrcom.scenarios.rewards import REWARDS
from mrcom.scenarios.scenario import Scenario

MAX_ALPHA = 90.0
LEAST_SHELL = 1e-3
"""Share of a box that must lie outside another one for scenarios to be drawn there."""
KINDS = ("same", "wide", "shell")
DYNAMICS = ("gravity", "friction", "mass")
"""Factors of a scenario that boxes can range over besides the torso's."""


def _uniform(share: float, low: float, high: float) -> float:
    return low + (high - low) * share


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        nearest = high if value > high else low
        raise ConfigError(
            f"{name}={value:g} % must lie in [{low:g}, {high:g}]; the nearest legal value is "
            f"{nearest:g}."
        )


@dataclasses.dataclass(frozen=True)
class Box:
    """Ranges that scenarios are drawn from, uniformly."""

    alpha: Real
    """Torso length and size each lie within this many per cent of the default."""
    beta: Real
    """Target speeds lie below this share of the body's fastest [%]."""
    beta_low: Real = 0.0
    """And above this share [%]; equal to `beta`, it fixes the target."""
    gravity: Real = 0.0
    """Gravity lies within this many per cent of the default."""
    friction: Real = 0.0
    """So does the friction of every surface."""
    mass: Real = 0.0
    """So does every mass, beyond what follows from the torso."""

    def __post_init__(self):
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, float(getattr(self, field.name)))
        for name in ("alpha", *DYNAMICS):
            _check(name, getattr(self, name), 0.0, MAX_ALPHA)
        if not 0.0 < self.beta <= 100.0:
            nearest = "100" if self.beta > 100.0 else "any value above 0, such as 1"
            raise ConfigError(
                f"beta={self.beta:g} % must lie in (0, 100]; the nearest legal value is {nearest}."
            )
        _check("beta_low", self.beta_low, 0.0, self.beta)

    def contains(self, other: "Box") -> bool:
        """Whether every scenario of the other box lies in this one."""
        return (
            all(getattr(other, name) <= getattr(self, name) for name in ("alpha", *DYNAMICS))
            and other.beta <= self.beta
            and other.beta_low >= self.beta_low
        )

    def share_outside(self, other: "Box", *, speeds: bool = True) -> float:
        """Share of this box's scenarios that do not lie in the other one."""

        def within(name: str) -> float:
            ours, theirs = getattr(self, name), getattr(other, name)
            return 1.0 if ours <= theirs else theirs / ours

        width = self.beta - self.beta_low
        common = min(self.beta, other.beta) - max(self.beta_low, other.beta_low)
        speed = max(common, 0.0) / width if width > 0 else float(common >= 0)
        inside = within("alpha") ** 2 * math.prod(map(within, DYNAMICS))
        return 1.0 - inside * (speed if speeds else 1.0)

    def holds(self, scenario: Scenario) -> bool:
        """Whether one scenario lies in this box."""
        torso = dict.fromkeys(("torso_length", "torso_size"), self.alpha)
        reach = torso | {name: getattr(self, name) for name in DYNAMICS}
        share = 100 * scenario.target_speed / scenario.embodiment.max_speed
        return (
            all(abs(getattr(scenario, name) - 1) <= at / 100 + 1e-9 for name, at in reach.items())
            and self.beta_low - 1e-4 <= share <= self.beta + 1e-4
        )

    def __str__(self) -> str:
        speeds = f"{self.beta_low:g}..{self.beta:g}"
        ranges = {"torso": self.alpha} | {name: getattr(self, name) for name in DYNAMICS}
        said = [f"{name} +-{at:g} %" for name, at in ranges.items() if at or name == "torso"]
        return f"{', '.join(said)}, target {speeds} % of the fastest"


def sample_scenarios(
    body: str,
    box: Box,
    count: int,
    seed: int,
    *,
    reward: str = "track",
    observation: str = "plain",
    outside: Box | None = None,
    stream: str = "train",
) -> list[Scenario]:
    """Scenarios of one body, uniform in a box; the same list on every machine.

    The first scenarios of a longer list are those of a shorter one. Torsos and targets do not
    depend on the reward, the observation function or, where every scenario of the box will do,
    on other ranges.

    Args:
        body: name of the body.
        box: ranges to draw from.
        count: how many.
        seed: with `stream`, decides the list.
        reward: track, reach or stand (which has no target).
        observation: plain, add_g, add_d, msk_r or msk_f.
        outside: a box that every scenario must lie outside of.
        stream: another name is another list for the same seed.

    Raises:
        ConfigError: an unknown name, a count below 1, or nothing of `box` lies outside.
    """
    if count < 1:
        raise ConfigError(f"count={count} must be at least 1.")
    if reward not in REWARDS:
        raise unknown("reward", reward, REWARDS)
    if outside is not None:
        share = box.share_outside(outside, speeds=reward != "stand")
        if share < LEAST_SHELL:
            raise ConfigError(
                f"{100 * share:.2g} % of the box ({box}) lies outside the box ({outside}), where "
                f"scenarios are asked for; at least {100 * LEAST_SHELL:g} % must. Widen it."
            )
    embodiment = body_named(body)
    drawn = []
    for index in range(count):
        rng = named_generator(seed, "scenarios", stream, body, index)
        # Of its own, so that lists without these ranges stay what they are.
        other = named_generator(seed, "dynamics", stream, body, index)
        seen = observation_function(observation, embodiment, int(rng.random() * 2**31))
        plain = Scenario(body, reward=reward, observation=seen)
        scenario = _drawn(plain, box, rng, other)
        while outside is not None and outside.holds(scenario):
            scenario = _drawn(plain, box, rng, other)
        drawn.append(scenario)
    return drawn


def _drawn(
    plain: Scenario, box: Box, rng: np.random.Generator, other: np.random.Generator
) -> Scenario:
    """The scenario with a torso and a target of the first generator, dynamics of the other."""
    length, size = (_uniform(rng.random(), -box.alpha, box.alpha) for _ in range(2))
    share = _uniform(rng.random(), box.beta_low, box.beta)
    reach = {name: getattr(box, name) / 100 for name in DYNAMICS}
    speed = 0.0 if plain.reward == "stand" else share / 100 * plain.embodiment.max_speed
    # Rounded, so that no machine's last bit changes a record's hash.
    return dataclasses.replace(
        plain,
        target_speed=round(speed, 6),
        torso_length=round(1 + length / 100, 6),
        torso_size=round(1 + size / 100, 6),
        **{name: round(1 + _uniform(other.random(), -at, at), 6) for name, at in reach.items()},
    )


@dataclasses.dataclass(frozen=True)
class Split:
    """Where a model is trained and where it is tested."""

    name: str
    """For people and folders."""
    kind: str
    """How the boxes lie, which is checked. same: one box for both; wide: the test box contains the
    training box; shell: some of the test box lies outside the training box. Whatever it is, runs
    draw targets inside the training box, and others in the test box but outside the other; a wide
    one's two strata together also say what its whole test box gives."""
    train: Box
    """Training scenarios come from here."""
    test: Box
    """Test scenarios outside the training box come from here."""
    seed: int = 0
    """Decides both lists."""

    def __post_init__(self):
        if self.kind not in KINDS:
            raise unknown("kind of split", self.kind, KINDS)
        if self.kind == "same" and self.train != self.test:
            raise ConfigError(
                f"Split {self.name!r} is of kind 'same', but its test box ({self.test}) is not its "
                f"training box ({self.train}). Make them equal, or call it 'wide' or 'shell'."
            )
        if self.kind == "wide" and not self.test.contains(self.train):
            raise ConfigError(
                f"Split {self.name!r} is of kind 'wide', but its test box ({self.test}) does not "
                f"contain the training box ({self.train}). Widen it, or call it 'shell'."
            )
        if self.kind == "shell" and self.test.share_outside(self.train) < LEAST_SHELL:
            raise ConfigError(
                f"Split {self.name!r} is of kind 'shell', but its test box ({self.test}) lies "
                f"inside the training box ({self.train}), or all but does. Widen it, or call it "
                f"'same'."
            )

    def share_inside(self, *, speeds: bool = True) -> float:
        """Share of the test box's scenarios that lie in the training box."""
        return 1.0 - self.test.share_outside(self.train, speeds=speeds)

    def train_scenarios(
        self, body: str, n: int = 16, *, reward: str = "track", observation: str = "plain"
    ) -> list[Scenario]:
        """The first n training scenarios of a body."""
        return sample_scenarios(
            body, self.train, n, self.seed, reward=reward, observation=observation
        )


def _splits() -> dict[str, Split]:
    found = {}
    # (letter, train alpha, beta, test alpha, beta): the rows of the paper's tables 1 and 2;
    # table 2 varies dynamics only and fixes the target at half the fastest speed.
    rows = (
        ("a", 5, 20, 5, 20),
        ("b", 5, 20, 10, 50),
        ("c", 10, 50, 10, 50),
        ("d", 10, 50, 20, 100),
    )
    for letter, alpha, beta, test_alpha, test_beta in rows:
        pairs = {
            "table1": (Box(alpha, beta), Box(test_alpha, test_beta)),
            "table2": (Box(alpha, 50, 50), Box(test_alpha, 50, 50)),
        }
        for table, (train, test) in pairs.items():
            kinds = ("same",) if train == test else ("wide", "shell")
            for kind in kinds:
                name = f"{table}-{letter}" + ("-shell" if kind == "shell" else "")
                found[name] = Split(name, kind, train, test)
    return found


SPLITS: dict[str, Split] = _splits()
"""The paper's pairs of boxes by name, and the wide ones by a second, `-shell`: the same boxes."""


def split(name: str) -> Split:
    """The split of that name, or one written as KIND:TRAIN:TEST.

    A box is written as ALPHA,BETA or ALPHA,LOW..BETA: `shell:10,50:20,100` is `table1-d-shell`.
    Ranges of `DYNAMICS` may follow: `10,50,gravity=20,mass=10`.

    Raises:
        ConfigError: there is none of that name, or no such split; says what is nearest.
    """
    if ":" in name:
        kind, *boxes = name.split(":")
        if len(boxes) != 2:
            raise ConfigError(f"split {name!r} must be KIND:TRAIN:TEST: shell:10,50:20,100.")
        return Split(name, kind, train=_box(boxes[0]), test=_box(boxes[1]))
    if name not in SPLITS:
        raise unknown("split", name, SPLITS)
    return SPLITS[name]


def _box(text: str) -> Box:
    number = r"(\d+\.?\d*|\.\d+)"
    found = re.fullmatch(rf"{number},(?:{number}\.\.)?{number}((?:,\w+={number})*)", text)
    if found is None:
        raise ConfigError(
            f"box {text!r} must be ALPHA,BETA or ALPHA,LOW..BETA in per cent, such as 10,50; "
            f"ranges of {', '.join(DYNAMICS)} may follow: 10,50,gravity=20."
        )
    alpha, low, beta, rest, _ = found.groups(default="0")
    ranges: dict[str, float] = {}
    for part in rest.removeprefix(",").split(",") if rest else ():
        name, value = part.split("=")
        if name not in DYNAMICS:
            raise unknown("range", name, DYNAMICS)
        if name in ranges:
            raise ConfigError(f"box {text!r} gives {name} twice; the nearest gives it once.")
        ranges[name] = float(value)
    return Box(float(alpha), float(beta), float(low), **ranges)
