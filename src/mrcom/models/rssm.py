"""A recurrent state-space model with categorical samples."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from mrcom.core.numerics import symlog
from mrcom.core.rng import named_keys
from mrcom.core.types import Batch, Prompt
from mrcom.models.latent_error import Shift, disturbed
from mrcom.models.pixels import Image, Pixels, beside, drawn, new_pixels, width_of
from mrcom.models.rssm_parts import (
    CELLS,
    STARTS,
    AbstractStart,
    Cell,
    Posterior,
    RSSMConfig,
    State,
    feature_of,
    flattened,
    unpacked,
)
from mrcom.models.world_model import AbstractLatentModel, DreamContext
from mrcom.nn.categorical import Categorical, categorical_of
from mrcom.nn.heads import BINNED_HEADS, BernoulliHead, BinnedHead
from mrcom.nn.mlp import MLP, Blocks


class RSSM(AbstractLatentModel):
    """Recurrent state-space model: a memory, and samples of what it cannot tell.

        h_t = f(h_{t-1}, z_{t-1}, a_{t-1})     z_t ~ q(z | h_t, x_t)     z^_t ~ p(z | h_t)

    Observations come and go in whatever unit the caller chose, such as symlog of raw values:
    nothing here depends on it. A step that is an episode's first forgets everything before it,
    the action that led there included.

    Equation: dreamer.rssm
    """

    encoder: Blocks
    cell: Cell
    prior_net: MLP
    posterior_net: MLP
    start: AbstractStart
    decoder: MLP
    reward_head: BinnedHead
    cont_head: BernoulliHead
    pixels: Pixels | None
    config: RSSMConfig = eqx.field(static=True)

    def __init__(self, config: RSSMConfig, obs: int, act: int, *, key: PRNGKeyArray):
        """Fresh parameters for observations and actions of these padded widths."""
        keys = named_keys(
            key,
            "encoder",
            "cell",
            "prior",
            "posterior",
            "start",
            "decoder",
            "reward",
            "cont",
            "pixels",
        )
        c, kind, self.config = config, config.layers, config
        inputs = obs + int(c.observe_reward)
        self.encoder = Blocks(inputs, c.coder, c.encoder_layers, key=keys.encoder, kind=kind)
        self.pixels = new_pixels(c.pixels, c.deter, c.flat_stoch, key=keys.pixels, kind=kind)
        self.cell = CELLS[c.cell](c, act, keys.cell)
        self.prior_net = MLP(
            c.deter, c.hidden, c.prior_layers, c.flat_stoch, key=keys.prior, kind=kind
        )
        self.posterior_net = MLP(
            c.deter + (c.coder if c.encoder_layers else inputs) + width_of(c.pixels),
            c.hidden,
            c.posterior_layers,
            c.flat_stoch,
            key=keys.posterior,
            kind=kind,
        )
        self.start = STARTS[c.start](c, keys.start)
        self.decoder = MLP(c.feature, c.coder, c.decoder_layers, obs, key=keys.decoder, kind=kind)
        heads = c.feature, c.units, c.head_layers
        bins = c.reward_bins, c.reward_limit
        reward = BINNED_HEADS[c.reward_head]
        self.reward_head = reward(*heads, *bins, key=keys.reward, kind=kind)
        self.cont_head = BernoulliHead(*heads, key=keys.cont, kind=kind)

    def initial(
        self,
        prompt: Prompt,
        obs_mask: Float[Array, "N O"],
        act_mask: Float[Array, "N A"],
        body: Int[Array, " N"] | None = None,
    ) -> State:
        """State before anything real is seen. The prompt is not used."""
        deter, stoch = self.start(self.prior_net, self.config)
        rows = obs_mask.shape[0]
        many = lambda x: jnp.broadcast_to(x, (rows, *x.shape))
        return State(many(deter), many(stoch), obs_mask, act_mask, body)

    def observe(self, batch: Batch, *, key: PRNGKeyArray | None, error: Shift = None) -> Posterior:
        """Filter all steps of a batch, from what replay stored of the step before them.

        Where nothing is stored, that is an episode's start.
        """
        token = self.encode(batch.obs, batch.reward, batch.obs_mask[:, None], batch.image)
        rows, length = batch.reward.shape
        many = lambda x: jnp.moveaxis(x, 1, 0)

        def step(
            carry: tuple[Array, Array], given: tuple[Array, Array, Array, Array, Array | None]
        ) -> tuple[tuple[Array, Array], tuple[Array, Array, Array]]:
            number, token, action, first, error = given
            deter, stoch, action = self._unless_first(first, *carry, action)
            deter = self.remember(deter, stoch, action)
            posterior = self._posterior(deter, token)
            stoch = posterior.sample(None if key is None else jax.random.fold_in(key, number))
            stoch = self._disturbed(stoch, error)
            return (deter, stoch), (deter, stoch, posterior.log_probs)

        action = batch.action * batch.act_mask[:, None]
        errors = None if error is None else many(error)
        given = jnp.arange(length), many(token), many(action), many(batch.first), errors
        _, steps = jax.lax.scan(step, self._before(batch, rows), given)
        deter, stoch, log_probs = (many(x) for x in steps)
        return Posterior(
            deter=deter,
            stoch=stoch,
            token=token,
            prior=self._prior(deter),
            posterior=Categorical(log_probs),
            obs_mask=batch.obs_mask,
            act_mask=batch.act_mask,
            body=batch.body,
        )

    def states_at(self, posterior: Posterior, index: Int[Array, " N"]) -> State:
        """The states at some of the B x T filtered steps, counted row by row."""
        row, step = jnp.divmod(index, posterior.deter.shape[1])
        return State(
            deter=posterior.deter[row, step],
            stoch=posterior.stoch[row, step],
            obs_mask=posterior.obs_mask[row],
            act_mask=posterior.act_mask[row],
            body=None if posterior.body is None else posterior.body[row],
        )

    def correct(
        self,
        state: State,
        obs: Float[Array, "*B O"],
        action: Float[Array, "*B A"],
        reward: Float[Array, "*B"],
        *,
        key: PRNGKeyArray | None,
        error: Shift = None,
        image: Image = None,
    ) -> tuple[State, Categorical]:
        """Advance by `action`, then take in what was seen; most likely classes without a key."""
        deter = self.remember(state.deter, state.stoch, action * state.act_mask)
        posterior = self._posterior(deter, self.encode(obs, reward, state.obs_mask, image))
        stoch = self._disturbed(posterior.sample(key), error)
        return dataclasses.replace(state, deter=deter, stoch=stoch), posterior

    def predict(
        self,
        state: State,
        action: Float[Array, "*B A"],
        *,
        key: PRNGKeyArray | None,
        dream_context: DreamContext = "push",
    ) -> tuple[State, Categorical]:
        """Advance by `action` without looking. There is no context to push a step into."""
        deter = self.remember(state.deter, state.stoch, action * state.act_mask)
        prior = self._prior(deter)
        return dataclasses.replace(state, deter=deter, stoch=prior.sample(key)), prior

    def encode(
        self,
        obs: Float[Array, "*B O"],
        reward: Float[Array, "*B"],
        obs_mask: Float[Array, "... O"],
        image: Image = None,
    ) -> Float[Array, "*B E"]:
        """What the posterior reads of an observation, its picture, the last reward if it may."""
        seen = obs * obs_mask
        if self.config.observe_reward:
            seen = jnp.concatenate([seen, symlog(reward)[..., None]], axis=-1)
        return beside(self.encoder(seen), self.pixels, image)

    def feature(self, state: State) -> Float[Array, "*B F"]:
        """Sampled and recurrent state side by side."""
        return feature_of(state.deter, state.stoch)

    @property
    def blocks(self) -> dict[str, int]:
        """Widths of the two states, in the feature's order."""
        return {"stoch": self.config.flat_stoch, "deter": self.config.deter}

    @property
    def num_sampled(self) -> int:
        """Entries of the sampled state."""
        return self.config.flat_stoch

    def with_feature(self, state: State, feature: Float[Array, "*B F"]) -> State:
        """The state with this sample, which may be any numbers, and this memory."""
        stoch, deter = jnp.split(feature, [self.config.flat_stoch], axis=-1)
        return dataclasses.replace(state, deter=deter, stoch=self._shaped(stoch))

    def decode(
        self, feature: Float[Array, "*B F"], body: Int[Array, "..."] | None = None
    ) -> Float[Array, "*B O"]:
        """The expected observation, in the caller's unit; padded entries are meaningless."""
        return self.decoder(feature)

    def draw(self, feature: Float[Array, "*B F"]) -> Float[Array, "*B _ _ 3"]:
        """The expected picture, in [0, 1]."""
        stoch, deter = jnp.split(feature, [self.config.flat_stoch], axis=-1)
        return drawn(self.pixels, deter, stoch)

    def reward_logits(self, feature: Float[Array, "*B F"]) -> Float[Array, "*B K"]:
        """Logits of the reward's bins, `reward_head.bins`."""
        return self.reward_head.logits(feature)

    def reward(self, feature: Float[Array, "*B F"]) -> Float[Array, "*B"]:
        """The expected reward on arriving at a state."""
        return self.reward_head(feature)

    def cont_logit(self, feature: Float[Array, "*B F"]) -> Float[Array, "*B"]:
        """Log-odds of what the continue head was taught: to go on, times the model's discount."""
        return self.cont_head(feature)

    def cont(self, feature: Float[Array, "*B F"]) -> Float[Array, "*B"]:
        """The probability that the episode goes on after a state, without the discount."""
        return jnp.minimum(jax.nn.sigmoid(self.cont_head(feature)) / self.config.discount, 1.0)

    def _before(self, batch: Batch, rows: int) -> tuple[Float[Array, "B D"], Float[Array, "B S K"]]:
        c = self.config
        if "deter" not in batch.stored:
            start = self.start(self.prior_net, c)
            deter, stoch = (jnp.broadcast_to(x, (rows, *x.shape)) for x in start)
            return deter, stoch
        return batch.stored["deter"].astype(jnp.float32), unpacked(batch.stored["stoch"], c.classes)

    def _unless_first(
        self,
        first: Bool[Array, " B"],
        deter: Float[Array, "B D"],
        stoch: Float[Array, "B S K"],
        action: Float[Array, "B A"],
    ) -> tuple[Float[Array, "B D"], Float[Array, "B S K"], Float[Array, "B A"]]:
        """State and action that led into a step, or an episode's start and no action."""
        start_deter, start_stoch = self.start(self.prior_net, self.config)
        return (
            jnp.where(first[:, None], start_deter[None], deter),
            jnp.where(first[:, None, None], start_stoch[None], stoch),
            jnp.where(first[:, None], 0.0, action),
        )

    def remember(
        self,
        deter: Float[Array, "*B D"],
        stoch: Float[Array, "*B S K"],
        action: Float[Array, "*B A"],
    ) -> Float[Array, "*B D"]:
        """The next memory, after masked actions of any size."""
        # A policy may ask for more than there is; what is carried out ends at 1.
        size = jax.lax.stop_gradient(jnp.maximum(1.0, jnp.abs(action)))
        return self.cell(deter, flattened(stoch), action / size)

    def _prior(self, deter: Float[Array, "*B D"]) -> Categorical:
        return self._classes(self.prior_net(deter))

    def _posterior(self, deter: Float[Array, "*B D"], token: Float[Array, "*B E"]) -> Categorical:
        return self._classes(self.posterior_net(jnp.concatenate([deter, token], axis=-1)))

    def _classes(self, logits: Float[Array, "*B Z"]) -> Categorical:
        return categorical_of(self._shaped(logits), self.config.unimix)

    def _shaped(self, flat: Float[Array, "*B Z"]) -> Float[Array, "*B S K"]:
        return flat.reshape(*flat.shape[:-1], self.config.stoch, self.config.classes)

    def _disturbed(self, stoch: Float[Array, "*B S K"], error: Shift) -> Float[Array, "*B S K"]:
        """A sample, one-hot, with a real-valued error of every entry."""
        return disturbed(stoch, None if error is None else self._shaped(error))
