"""Policies whose world model filters with an error of its latent state."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from mrcom.agents.acting import Carry, Disturbance
from mrcom.core.errors import ConfigError
from mrcom.core.rng import named_keys, root_key
from mrcom.models.latent_error import LatentError
from mrcom.simulate.rollout import Policy, SeesPictures


class DisturbedPolicy:
    """Another policy, which never knows that its latent state is wrong."""

    def __init__(self, policy: Policy, error: LatentError, *, seed: int):
        """A policy.

        Args:
            policy: acts on the states of world models.
            error: added to every filtered sample.
            seed: of the errors alone.
        """
        self._policy, self._error = policy, error
        self._key = named_keys(root_key(seed), "latent_error").latent_error

    def show(self, image: UInt8[np.ndarray, "N S S 3"]) -> None:
        """Pictures, for a policy that sees them."""
        if isinstance(self._policy, SeesPictures):
            self._policy.show(image)

    def start(self, num: int) -> Any:
        """What the policy remembers, with errors to come wherever it is a model's state.

        Raises:
            ConfigError: it remembers no model's state.
        """
        remembered = self._policy.start(num)
        is_carry = lambda part: isinstance(part, Carry)
        parts, tree = jax.tree.flatten(remembered, is_leaf=is_carry)
        if not any(map(is_carry, parts)):
            raise ConfigError("A policy without a latent state cannot act with an error of it.")
        for number, part in enumerate(parts):
            if is_carry(part):
                key = jax.random.fold_in(self._key, number)
                source = Disturbance(self._error, key, jnp.zeros((), jnp.int32))
                parts[number] = Carry(part.model, part.body, source)
        return jax.tree.unflatten(tree, parts)

    def act(
        self,
        carry: Any,
        obs: Float[np.ndarray, "N O"],
        action: Float[np.ndarray, "N A"],
        reward: Float[np.ndarray, " N"],
    ) -> tuple[np.ndarray, Any]:
        """The policy's own next action."""
        return self._policy.act(carry, obs, action, reward)
