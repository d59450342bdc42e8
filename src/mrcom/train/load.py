"""A trained run in Python: its scenarios as an environment, its policies as functions."""

import dataclasses
import pathlib
from collections.abc import Sequence

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float

from mrcom.agents.agent import AgentPolicy, dreaming
from mrcom.agents.planning import PLANNERS
from mrcom.behaviour.dream_env import DreamEnv, DreamEnvConfig
from mrcom.core.errors import ConfigError, unknown
from mrcom.core.rng import named_keys, root_key
from mrcom.scenarios.scenario import Scenario
from mrcom.simulate.rollout import Policy, rollout
from mrcom.simulate.simulator import Simulator
from mrcom.train.adaptation import targets_of_run
from mrcom.train.adapted import (
    adapted_names,
    adapted_policy,
    adapted_record,
    prompts_of_rows,
)
from mrcom.train.checkpoint import Checkpoints
from mrcom.train.contestants import planning_policy
from mrcom.train.run import Run, open_trained
from mrcom.train.run_folder import RunFolder, open_run
from mrcom.train.settings import worlds_of
from mrcom.train.views import LatentView


class Acting:
    """A policy with a memory: call it with what is seen now, get the next actions.

    One call a control step. The memory starts anew whenever `reward` is None.
    """

    def __init__(self, policy: Policy, num: int, act: int):
        self._policy, self._shape = policy, (num, act)
        self.reset()

    def reset(self) -> None:
        """Forget everything: an episode starts."""
        self._carry = self._policy.start(self._shape[0])
        self._action = np.zeros(self._shape, np.float32)

    def __call__(
        self, obs: Float[np.ndarray, "N O"], reward: Float[np.ndarray, " N"] | None = None
    ) -> Float[np.ndarray, "N A"]:
        """The next action of every scenario.

        Args:
            obs: padded observations, as the environment gives them.
            reward: received on arriving there; None at an episode's start.
        """
        if reward is None:
            self.reset()
            reward = np.zeros(self._shape[0], np.float32)
        self._action, self._carry = self._policy.act(self._carry, obs, self._action, reward)
        return self._action


@dataclasses.dataclass(frozen=True)
class LoadedRun:
    """A trained run, ready to act."""

    run: Run

    @property
    def targets(self) -> tuple[Scenario, ...]:
        """The unseen scenarios that the run is adapted to and judged in."""
        found = targets_of_run(self.run, self.run.config.budget)
        return tuple(target.scenario for target in found)

    def env(self, scenarios: Sequence[Scenario] | None = None, *, seed: int = 0) -> Simulator:
        """The real simulator of some scenarios, by default the targets.

        `obs = env.reset()`, then `obs, reward = env.step(action)`; an episode is
        `env.episode_steps` steps long and has no other end.
        """
        chosen = self.targets if scenarios is None else tuple(scenarios)
        return Simulator(chosen, layout=self.run.worlds.layout, seed=seed)

    def policy(
        self,
        scenarios: Sequence[Scenario] | None = None,
        *,
        name: str = "behaviour",
        seed: int | None = None,
    ) -> Acting:
        """A policy for some scenarios, by default the targets.

        Args:
            scenarios: in the order of the environment's.
            name: `behaviour` for what was learnt in training; a name that `mrcom adapt` gave,
                such as `adapted`, for a policy of each target; `planning` for the frozen model and
                a planner, where the method has one, and `planning-oracle` for the same with true
                rewards. Both are slow: every step is a new search.
            seed: sample actions with it; by default act by the mode. A planner searches with it,
                by default with the run's.

        Raises:
            ConfigError: no such policy, or one that knows only the targets.
        """
        run, chosen = self.run, self.targets if scenarios is None else tuple(scenarios)
        worlds = worlds_of(run.config, chosen)
        policy: Policy
        if name in PLANNERS:
            seed = run.config.seed if seed is None else seed
            policy = planning_policy(run, name, chosen, worlds.masks, seed=seed)
        elif name != "behaviour":
            if name not in adapted_names(run):
                raise unknown("policy", name, ("behaviour", *adapted_names(run)))
            if not set(chosen) <= set(adapted_record(run, name).targets):
                raise ConfigError(f"The policy {name!r} exists for its own targets only.")
            policy = adapted_policy(run, name, chosen, worlds.masks, seed=seed)
        else:
            prompt = prompts_of_rows(run, chosen)
            key = None if seed is None else named_keys(root_key(seed), "policy").policy
            policy = AgentPolicy(run.agent, run.state, worlds.masks, prompt, key)
        return Acting(policy, len(chosen), worlds.layout.act)

    def dream_env(
        self,
        scenario: Scenario | None = None,
        *,
        num_steps: int = 250,
        seed: int = 0,
        config: DreamEnvConfig | None = None,
    ) -> DreamEnv:
        """The frozen model of one scenario, as a Gymnasium vector environment.

        Args:
            scenario: by default the first target.
            num_steps: real steps that the behaviour takes there; dreams start from them.
            seed: of that episode and of its sampled actions.
            config: how many dreams, how long, and what is seen of them.
        """
        run, chosen = self.run, (self.targets[0] if scenario is None else scenario,)
        worlds = worlds_of(run.config, chosen)
        prompt = prompts_of_rows(run, chosen)
        key = named_keys(root_key(seed), "policy").policy
        policy = AgentPolicy(run.agent, run.state, worlds.masks, prompt, key)
        simulator = Simulator(worlds.scenarios, layout=worlds.layout)
        steps = rollout(simulator, policy, num_steps=num_steps, seed=seed)
        view = LatentView(run.agent, run.state, worlds.masks, prompt)
        _, memory = view.follow(steps.obs, steps.action, steps.reward, steps.image)
        visited = jax.tree.map(lambda leaf: leaf[0], view.states(memory))
        agent, masks = dreaming(run.agent), (worlds.masks.obs[0], worlds.masks.act[0])
        config = config or DreamEnvConfig()
        if config.dream_context is None:
            config = dataclasses.replace(config, dream_context=agent.dream_context)
        # What models decode is in a unit of their own, such as the symlog.
        expected = eqx.Partial(agent.expected, run.state)
        return DreamEnv(agent.model(run.state), visited, *masks, config, expected=expected)


def load(path: str | pathlib.Path) -> LoadedRun:
    """A trained run from its folder, or one of its checkpoints alone, wherever it lies.

    Raises:
        RunFolderError: there is no run.
        CheckpointError: it has no checkpoint, or one that does not fit this version.
    """
    path = pathlib.Path(path).absolute()
    if path.name.isdigit() and (path / "record").is_dir():
        # What belongs to the run besides, such as adapted policies, lies two folders above.
        kept, folder = Checkpoints(path.parent), RunFolder(path.parent.parent)
        return LoadedRun(open_trained(folder, int(path.name), kept=kept))
    folder = RunFolder(path)
    if not Checkpoints(folder.checkpoints).steps():
        open_run(folder.path)
    return LoadedRun(open_trained(folder))
