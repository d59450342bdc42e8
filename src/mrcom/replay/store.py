"""What has been seen: a ring of episodes per scenario, in memory, of a known size."""

import dataclasses
import math
from collections.abc import Mapping

import jax
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from mrcom.core.errors import CheckpointError, ConfigError, TrainingDivergedError
from mrcom.core.steps import Layout, Steps

Written = Mapping[str, jax.ShapeDtypeStruct]
"""What a method writes beside every step it has trained on: shape and type by name."""


def bytes_per_episode(layout: Layout, steps: int, written: Written | None = None) -> int:
    """Memory [bytes] of one stored episode of so many steps, known before any is taken."""
    one_step = 4 * (layout.obs + layout.act + 1) + 1  # float32 obs, action, reward; one bool
    one_step += math.prod(layout.image_shape)
    one_step += sum(leaf.size * leaf.dtype.itemsize for leaf in (written or {}).values())
    return steps * one_step


def capacity_within(
    byte_budget: int,
    num_scenarios: int,
    layout: Layout,
    steps: int = 1001,
    written: Written | None = None,
) -> int:
    """How many episodes of each scenario fit into a budget.

    Raises:
        ConfigError: not even one episode per scenario fits.
    """
    one = bytes_per_episode(layout, steps, written)
    capacity = byte_budget // (one * num_scenarios)
    if capacity < 1:
        raise ConfigError(
            f"A replay budget of {byte_budget / 2**20:.1f} MiB cannot hold one episode of each of "
            f"{num_scenarios} scenarios. Give at least {one * num_scenarios / 2**20:.1f} MiB, "
            "or train on fewer scenarios."
        )
    return capacity


@dataclasses.dataclass(frozen=True)
class Ring:
    """The arrays of a store: N scenarios, each with E slots for an episode of T steps."""

    obs: Float[np.ndarray, "N E T O"]
    action: Float[np.ndarray, "N E T A"]
    reward: Float[np.ndarray, "N E T"]
    is_terminal: Bool[np.ndarray, "N E T"]
    length: Int[np.ndarray, "N E"]
    """Steps of the episode in a slot, its first one included; 0 where there is none."""
    expert: Bool[np.ndarray, "N E"]
    """Whether the scenario's expert chose the actions of the episode in a slot."""
    image: UInt8[np.ndarray, "N E T S S 3"] | None = None

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """What there is of every step, by the names of `Steps`."""
        names = ("obs", "action", "reward", "is_terminal", "image")
        found = {name: getattr(self, name) for name in names}
        return {name: array for name, array in found.items() if array is not None}


class Store:
    """The latest episodes of every scenario; the oldest of a scenario makes room for its newest.

    A scenario has slots of its own, so that one that is collected more often never pushes
    out another. Memory is reserved once; the system hands it out as slots fill up.

    Attributes:
        ring: the arrays, to be read and not written to.
        written: what a method's updates left beside the steps, [N, E, T, ...] by name.
        layout: widths of an observation and of an action.
        steps: longest episode, its first step included.
        capacity: episodes a scenario can hold.
    """

    def __init__(
        self,
        num_scenarios: int,
        layout: Layout,
        *,
        steps: int = 1001,
        capacity: int,
        written: Written | None = None,
    ) -> None:
        for name, value in (("num_scenarios", num_scenarios), ("capacity", capacity)):
            if value < 1:
                raise ConfigError(f"Store.{name}={value} must be at least 1.")
        if steps < 2:
            raise ConfigError(f"Store.steps={steps} must be at least 2: a start and one step.")
        self.layout, self.steps, self.capacity = layout, steps, capacity
        slots = (num_scenarios, capacity, steps)
        self.ring = Ring(
            obs=np.zeros((*slots, layout.obs), np.float32),
            action=np.zeros((*slots, layout.act), np.float32),
            reward=np.zeros(slots, np.float32),
            is_terminal=np.zeros(slots, np.bool_),
            length=np.zeros(slots[:2], np.int64),
            expert=np.zeros(slots[:2], np.bool_),
            image=np.zeros((*slots, *layout.image_shape), np.uint8) if layout.image else None,
        )
        self.written = {
            name: np.zeros((*slots, *leaf.shape), leaf.dtype)
            for name, leaf in (written or {}).items()
        }
        self._written: Written = written or {}
        self._added = np.zeros(num_scenarios, np.int64)

    @property
    def num_scenarios(self) -> int:
        """How many scenarios have slots."""
        return len(self._added)

    @property
    def num_bytes(self) -> int:
        """Memory [bytes] that the full store takes."""
        one = bytes_per_episode(self.layout, self.steps, self._written)
        return self.num_scenarios * self.capacity * one

    @property
    def added(self) -> Int[np.ndarray, " N"]:
        """Episodes ever added to each scenario, those already pushed out included."""
        return self._added.copy()

    def add(
        self,
        scenarios: Int[np.ndarray, " B"],
        steps: Steps,
        lengths: Int[np.ndarray, " B"] | None = None,
        *,
        expert: bool = False,
    ) -> None:
        """Takes in one trajectory per row, oldest first where a scenario has several.

        Args:
            scenarios: index of the scenario of each row.
            steps: the trajectories, padded to the store's widths, raw units.
            lengths: steps that count in each row; all of them when absent.
            expert: whether the scenarios' experts chose the actions.

        Raises:
            ConfigError: a trajectory that is too long, or an unknown scenario.
            TrainingDivergedError: a value that is not finite; the scenario is named.
        """
        rows, longest = steps.reward.shape
        lengths = np.full(rows, longest) if lengths is None else lengths
        self._check(scenarios, steps, lengths)
        for row, (scenario, length) in enumerate(zip(scenarios, lengths, strict=True)):
            place = (scenario, self._added[scenario] % self.capacity)
            for name, array in self.ring.arrays.items():
                slot = array[place]
                slot[:length] = getattr(steps, name)[row, :length]
                slot[length:] = 0
            for array in self.written.values():
                array[place] = 0
            self.ring.length[place], self.ring.expert[place] = length, expert
            self._added[scenario] += 1

    def _check(self, scenarios: np.ndarray, steps: Steps, lengths: np.ndarray) -> None:
        longest, rows = int(lengths.max(initial=2)), len(scenarios)
        if (steps.image is None) != (self.ring.image is None):
            raise ConfigError(
                "Trajectories and the store they go into must both have pictures, or neither."
            )
        if len(steps.reward) != rows:
            raise ConfigError(
                f"{len(steps.reward)} trajectories came with {rows} scenario indices."
            )
        if longest > min(self.steps, steps.reward.shape[1]) or lengths.min(initial=2) < 2:
            raise ConfigError(
                f"Episodes of {lengths.min()} to {longest} steps cannot be stored; "
                f"2 to {min(self.steps, steps.reward.shape[1])} are possible."
            )
        if rows and not 0 <= scenarios.min() <= scenarios.max() < self.num_scenarios:
            raise ConfigError(
                f"Scenario indices {scenarios.min()} to {scenarios.max()} are not all among the "
                f"store's 0 to {self.num_scenarios - 1}."
            )
        for name in ("obs", "action", "reward"):
            finite = np.isfinite(getattr(steps, name)).reshape(rows, -1).all(1)
            if not finite.all():
                bad = int(scenarios[np.argmin(finite)])
                raise TrainingDivergedError(f"Scenario {bad} gave a {name} that is not finite.")

    def written_dict(self) -> dict[str, np.ndarray]:
        """What updates wrote, in the slots in use, as views: all of a store that ever changes.

        The steps themselves never do: whoever added them can add them again.
        """
        used = self._used()
        return {name: array[:, :used] for name, array in self.written.items()}

    def restore_written(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes over the `written_dict` of a store to which the same episodes had been added.

        Raises:
            CheckpointError: it was a store of other sizes.
        """
        used = self._used()
        for name, mine in self.written.items():
            given = state[name].shape if name in state else "none"
            wanted = (len(mine), used, *mine.shape[2:])
            if given != wanted:
                raise CheckpointError(
                    f"The stored {name} has shape {given}, this store needs {wanted}. Use the "
                    "scenarios, the rounds and the replay size of the run that was stopped."
                )
            mine[:, :used] = state[name]

    def _used(self) -> int:
        return int(np.clip(np.max(self._added), 1, self.capacity))  # never an array without entries
