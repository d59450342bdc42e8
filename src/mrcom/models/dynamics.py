"""How the three latent states follow from context, action and observation."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from mrcom.core.rng import named_keys
from mrcom.models.latent import ContextualConfig, Posterior
from mrcom.models.latent_error import disturbed
from mrcom.nn.distributions import Normal, normal_of
from mrcom.nn.mlp import MLP, Linear, rows_of
from mrcom.nn.recurrent import GRUCell, RecurrentNormal


class LatentDynamics(eqx.Module):
    """Stochastic, recurrent and auxiliary state, a priori and a posteriori.

        u_t ~ p(u | C_t, a_t)     d_t = f(d_{t-1}, u_t, a_t)     h_t ~ p(h | C_t, h_{t-1})
        u_t ~ q(u | C_t, a_t, o_t)                               h_t ~ q(h | C_t, h_{t-1}, o_t)

    The stochastic state u reads no memory, so its prior and posterior are computed for all
    steps at once; only d and h run through time. A part that was taken out has width 0.

    Equation: mrcom.eq6
    Equation: mrcom.eq7
    Equation: mrcom.eq8
    """

    start: Linear
    """First d and h, from the context: what happened before the first step."""
    stoch_prior: MLP
    stoch_posterior: MLP
    reference: MLP | None
    cell: GRUCell
    aux_prior: RecurrentNormal
    aux_posterior: RecurrentNormal
    config: ContextualConfig = eqx.field(static=True)

    def __init__(self, config: ContextualConfig, obs: int, act: int, *, key: PRNGKeyArray):
        keys = named_keys(
            key,
            "start",
            "stoch_prior",
            "stoch_posterior",
            "reference",
            "cell",
            "aux_prior",
            "aux_posterior",
        )
        width, deter, aux = config.context.width, config.deter_width, config.aux_width
        stoch = lambda inputs, key: MLP(
            inputs, config.units, config.layers, 2 * config.stoch, key=key
        )
        recurrent = lambda inputs, key: RecurrentNormal(
            inputs, aux, config.aux_units, min_std=config.min_std, key=key
        )
        self.config = config
        self.start = Linear(width, deter + aux, key=keys.start)
        self.stoch_prior = stoch(width + act, keys.stoch_prior)
        self.stoch_posterior = stoch(width + act + obs, keys.stoch_posterior)
        self.reference = stoch(width + act, keys.reference) if "reference" in config.parts else None
        self.cell = GRUCell(config.stoch + act, deter, key=keys.cell)
        self.aux_prior = recurrent(width, keys.aux_prior)
        self.aux_posterior = recurrent(width + obs, keys.aux_posterior)

    def first(
        self, context: Float[Array, "*B C"]
    ) -> tuple[Float[Array, "*B D"], Float[Array, "*B X"]]:
        """Memory and auxiliary state before the first step."""
        deter, aux = jnp.split(self.start(context), [self.config.deter_width], axis=-1)
        return jnp.tanh(deter), aux

    def prior(
        self,
        context: Float[Array, "*B C"],
        action: Float[Array, "*B A"],
        aux: Float[Array, "*B X"],
    ) -> tuple[Normal, Normal]:
        """Distributions of u and h before anything is seen; `aux` is the previous h."""
        known = jnp.concatenate([context, action], axis=-1)
        projected = self.aux_prior.project(context)
        return self._normal(self.stoch_prior(known)), self.aux_prior(projected, aux)

    def posterior(
        self,
        context: Float[Array, "*B C"],
        action: Float[Array, "*B A"],
        obs: Float[Array, "*B O"],
        aux: Float[Array, "*B X"],
    ) -> tuple[Normal, Normal]:
        """Distributions of u and h once the observation is seen."""
        seen = jnp.concatenate([context, action, obs], axis=-1)
        projected = self.aux_posterior.project(jnp.concatenate([context, obs], axis=-1))
        return self._normal(self.stoch_posterior(seen)), self.aux_posterior(projected, aux)

    def remember(
        self,
        deter: Float[Array, "*B D"],
        stoch: Float[Array, "*B U"],
        action: Float[Array, "*B A"],
    ) -> Float[Array, "*B D"]:
        """The next memory d."""
        return self.cell(self.cell.project(jnp.concatenate([stoch, action], axis=-1)), deter)

    def stochs(
        self,
        context: Float[Array, "B T C"],
        action: Float[Array, "B T A"],
        obs: Float[Array, "B T O"],
    ) -> tuple[Normal, Normal, Normal | None]:
        """Prior, posterior and second prior of u for all steps at once."""
        known = jnp.concatenate([context, action], axis=-1)
        seen = jnp.concatenate([known, obs], axis=-1)
        reference = None if self.reference is None else self._normal(self.reference(known))
        return (
            self._normal(self.stoch_prior(known)),
            self._normal(self.stoch_posterior(seen)),
            reference,
        )

    def through_time(
        self,
        context: Float[Array, "B T C"],
        obs: Float[Array, "B T O"],
        inputs: Float[Array, "B T I"],
        noise: Float[Array, "B T X"] | None,
        error: Float[Array, "B T X"] | None = None,
    ) -> tuple[Float[Array, "B T D"], Float[Array, "B T G"], Float[Array, "B T X"], Normal, Normal]:
        """Memory, what the one before told its gates, and auxiliary state, prior and posterior.

        `inputs` are [u, a]. Without noise, means instead of samples. `error` is added to each
        auxiliary state.
        """
        gates = self.cell.project(inputs)
        hidden = self.aux_posterior.project(jnp.concatenate([context, obs], axis=-1))
        first = self.first(context[:, 0])
        deter, told, aux, posterior = self._unroll(first, gates, hidden, noise, error)
        previous = jnp.concatenate([first[1][:, None], aux[:, :-1]], axis=1)
        prior = self.aux_prior(self.aux_prior.project(context), previous)
        return deter, told, aux, prior, posterior

    def ahead(
        self,
        stoch: Float[Array, "K B T U"],
        action: Float[Array, "B T A"],
        deter: Float[Array, "B T D"],
        told: Float[Array, "B T G"],
    ) -> Float[Array, "K B T D"]:
        """The next memory for K draws of u each; `told` is the share of this one in its gates."""
        # Everything as rows of a matrix: over axes K, B and T at once a compiler sums gradients of
        # the gates' scale ten times as slowly.
        every = lambda x: jnp.concatenate([rows_of(x)] * stoch.shape[0])
        shares = self.cell.project(jnp.concatenate([rows_of(stoch), every(action)], axis=-1))
        after = self.cell.gate(shares + every(told), every(deter))
        return after.reshape(*stoch.shape[:-1], after.shape[-1])

    def next_features(
        self, posterior: Posterior, *, num_samples: int, key: PRNGKeyArray | None
    ) -> Float[Array, "K B _ F"]:
        """One-step predictions [K, B, T - 1, F] of every filtered step but the first.

        Entries [:, :, t] are `num_samples` draws of step t + 1's feature given the filtered state
        of step t and the action that really followed; where `key` is None, one draw made of
        the priors' means. Gradients reach the priors, the cell, the context and the states.
        """
        stoch, aux = (
            Normal(p.mean[None, :, 1:], p.std[None, :, 1:])
            for p in (posterior.stoch_prior, posterior.aux_prior)
        )
        num = 1 if key is None else num_samples
        noise = self.config.noise(key, (num, *stoch.mean.shape[1:-1]))
        drawn = stoch.sample(None if noise is None else noise.stoch)
        # The step that followed has read this memory already.
        known = posterior.action[:, 1:], posterior.deter[:, :-1], posterior.told[:, 1:]
        deter = self.ahead(drawn, *known)
        return jnp.concatenate(
            [drawn, deter, aux.sample(None if noise is None else noise.aux)], axis=-1
        )

    def _normal(self, raw: Float[Array, "*B P"]) -> Normal:
        return normal_of(raw, self.config.min_std)

    def _unroll(
        self,
        first: tuple[Float[Array, "B D"], Float[Array, "B X"]],
        gates: Float[Array, "B T G"],
        hidden: Float[Array, "B T S"],
        noise: Float[Array, "B T X"] | None,
        error: Float[Array, "B T X"] | None,
    ) -> tuple[Float[Array, "B T D"], Float[Array, "B T G"], Float[Array, "B T X"], Normal]:
        """Memory and auxiliary state through time: the only loop of the filter."""

        def body(carry, inputs):
            deter, aux = carry
            gates, hidden, noise, error = inputs
            told = self.cell.remember(deter)
            deter = self.cell.gate(gates + told, deter)
            posterior = self.aux_posterior(hidden, aux)
            aux = disturbed(posterior.sample(noise), error)
            return (deter, aux), (deter, told, aux, posterior)

        swap = lambda tree: jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), tree)
        return swap(jax.lax.scan(body, first, swap((gates, hidden, noise, error)))[1])
