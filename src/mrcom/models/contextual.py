"""A world model of three states: what actions control, memory, and what they do not control."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mrcom.core.rng import named_keys
from mrcom.core.types import Batch, Prompt
from mrcom.models.bodies import AbstractBodies, Body, Padded, Stems
from mrcom.models.context import AbstractContext, ContextTransformer, NoContext
from mrcom.models.dynamics import LatentDynamics
from mrcom.models.latent import ContextualConfig, Noise, Posterior, State, Statistics
from mrcom.models.latent_error import Shift, disturbed
from mrcom.models.pixels import Image, Pixels, beside, drawn, new_pixels, width_of
from mrcom.models.world_model import AbstractLatentModel, DreamContext
from mrcom.nn.branched import BranchedMLP
from mrcom.nn.distributions import Normal
from mrcom.nn.heads import BernoulliHead, TwoHotHead
from mrcom.nn.mlp import MLP


class ContextualModel(AbstractLatentModel):
    """Contextual world model: context, three latent states, and a decoder of their feature.

        o_t ~ p(o | u_t, d_t, h_t)      r_t ~ p(r | u_t, d_t, h_t)      c_t ~ p(c | u_t, d_t, h_t)

    DEVIATION(mrcom): a_t is the action that led into o_t, not the one taken at it, unless
    `action_index` says so; reward and continue are predicted, and the reward joins the context.

    Equation: mrcom.eq9
    """

    bodies: AbstractBodies
    context: AbstractContext
    dynamics: LatentDynamics
    decoder: MLP | BranchedMLP
    reward_head: TwoHotHead
    cont_head: BernoulliHead
    pixels: Pixels | None
    config: ContextualConfig = eqx.field(static=True)

    def __init__(
        self, config: ContextualConfig, obs: int, act: int, *, bodies: int = 1, key: PRNGKeyArray
    ):
        """Fresh parameters for observations and actions of these padded widths.

        `bodies` is how many bodies there are; only stems depend on it.
        """
        keys = named_keys(
            key, "context", "dynamics", "decoder", "reward", "cont", "bodies", "pixels"
        )
        heads = config.feature, config.units, config.head_layers
        self.config = config
        self.bodies = (
            Stems(bodies, obs, act, config.stem_units, key=keys.bodies)
            if config.bodies == "stems"
            else Padded(obs, act)
        )
        sizes = config.deter_width, config.feature - config.deter_width
        self.pixels = new_pixels(config.pixels, *sizes, key=keys.pixels)
        widths = (self.bodies.widths[0] + width_of(config.pixels), self.bodies.widths[1])
        self.context = (
            ContextTransformer(
                config.context, *widths, observe_reward=config.observe_reward, key=keys.context
            )
            if "context" in config.parts
            else NoContext(config.context.width, key=keys.context)
        )
        self.dynamics = LatentDynamics(config, *widths, key=keys.dynamics)
        self.decoder = self.bodies.decoder(*heads[:2], config.layers, key=keys.decoder)
        bins = config.reward_bins, config.reward_limit
        self.reward_head = TwoHotHead(*heads, *bins, key=keys.reward)
        self.cont_head = BernoulliHead(*heads, key=keys.cont)

    def initial(
        self,
        prompt: Prompt,
        obs_mask: Float[Array, "N O"],
        act_mask: Float[Array, "N A"],
        body: Int[Array, " N"] | None = None,
    ) -> State:
        """State before anything real is seen: the context is the prompt's last steps."""
        self.config.check_window(prompt.reward.shape[1], at_least=self.config.context.window)
        contexts, memory = self.context.read(
            self._seen(prompt.obs * obs_mask[:, None], body, prompt.image),
            self.bodies.action(self.config.indexed(prompt.action * act_mask[:, None]), body),
            prompt.reward,
            prompt.valid,
        )
        rows = jnp.arange(prompt.reward.shape[0])
        memory = self.context.recall(memory, rows, jnp.full_like(rows, prompt.reward.shape[1] - 1))
        deter, aux = self.dynamics.first(contexts[:, -1])
        stoch = jnp.zeros((*rows.shape, self.config.stoch))
        body = self.bodies.remembered(body)
        return State(stoch, deter, aux, contexts[:, -1], memory, obs_mask, act_mask, body)

    def observe(self, batch: Batch, *, key: PRNGKeyArray | None, error: Shift = None) -> Posterior:
        """Filter the steps of a batch that follow its first window.

        `batch.obs` must be normalised. The context of all steps comes from one pass.
        """
        window = self.config.context.window
        self.config.check_window(batch.reward.shape[1], at_least=window + 1)
        noise = self.config.noise(key, (batch.reward.shape[0], batch.reward.shape[1] - window))
        return self.filter(batch, noise, error)

    def filter(self, batch: Batch, noise: Noise | None, error: Shift = None) -> Posterior:
        """`observe` with given draws; without any, means instead of samples."""
        window = self.config.context.window
        noise, errors = noise or Noise(None, None), self.config.shares(error)
        obs = self._seen(batch.obs * batch.obs_mask[:, None], batch.body, batch.image)
        action = self.config.indexed(batch.action * batch.act_mask[:, None])
        action = self.bodies.action(action, batch.body)
        # C_t of the trained steps, and of the one after.
        given = obs, action, batch.reward, batch.valid
        contexts, memory = self.context.read(*given, since=window - 1)
        before, obs, action = contexts[:, :-1], obs[:, window:], action[:, window:]
        stoch_prior, stoch_posterior, reference = self.dynamics.stochs(before, action, obs)
        stoch = disturbed(stoch_posterior.sample(noise.stoch), errors.stoch)
        inputs = jnp.concatenate([stoch, action], axis=-1)
        deter, told, aux, aux_prior, aux_posterior = self.dynamics.through_time(
            before, obs, inputs, noise.aux, errors.aux
        )
        return Posterior(
            stoch=stoch,
            deter=deter,
            told=told,
            aux=aux,
            context=contexts,
            stoch_prior=stoch_prior,
            stoch_posterior=stoch_posterior,
            aux_prior=aux_prior,
            aux_posterior=aux_posterior,
            reference=reference,
            error=errors,
            action=action,
            memory=memory,
            obs_mask=batch.obs_mask,
            act_mask=batch.act_mask,
            body=self.bodies.remembered(batch.body),
        )

    def states_at(self, posterior: Posterior, index: Int[Array, " N"]) -> State:
        """The states at some of the B x T filtered steps, counted row by row."""
        row, step = jnp.divmod(index, posterior.deter.shape[1])
        return State(
            stoch=posterior.stoch[row, step],
            deter=posterior.deter[row, step],
            aux=posterior.aux[row, step],
            context=posterior.context[row, step + 1],
            memory=self.context.recall(posterior.memory, row, step + self.config.context.window),
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
    ) -> tuple[State, Statistics]:
        """Advance by `action`, then take in what was seen."""
        noise = self.config.noise(key, reward.shape)
        return self.update(state, obs, action, reward, noise, error, image)

    def update(
        self,
        state: State,
        obs: Float[Array, "*B O"],
        action: Float[Array, "*B A"],
        reward: Float[Array, "*B"],
        noise: Noise | None,
        error: Shift = None,
        image: Image = None,
    ) -> tuple[State, Statistics]:
        """`correct` with given draws; without any, means instead of samples."""
        obs = self._seen(obs * state.obs_mask, state.body, image)
        action = self.bodies.action(action * state.act_mask, state.body)
        stoch, aux = self.dynamics.posterior(state.context, action, obs, state.aux)
        state = self._advance(state, action, stoch, aux, noise, error)
        return self._push(state, obs, action, reward), Statistics(stoch, aux)

    def predict(
        self,
        state: State,
        action: Float[Array, "*B A"],
        *,
        key: PRNGKeyArray | None,
        dream_context: DreamContext = "push",
    ) -> tuple[State, Statistics]:
        """Advance by `action` without looking.

        With `push` the decoded observation and reward become the newest step of the context;
        with `frozen` the context stays as it is.
        """
        action = self.bodies.action(action * state.act_mask, state.body)
        stoch, aux = self.dynamics.prior(state.context, action, state.aux)
        noise = self.config.noise(key, action.shape[:-1])
        state = self._advance(state, action, stoch, aux, noise)
        if dream_context == "frozen":
            return state, Statistics(stoch, aux)
        self.config.check_pushes()
        feature = self.feature(state)
        obs = self.decode(feature, state.body) * state.obs_mask
        reward, seen = self.reward(feature), self.bodies.obs(obs, state.body)
        return self._push(state, seen, action, reward), Statistics(stoch, aux, obs, reward)

    def next_features(
        self, posterior: Posterior, *, num_samples: int, key: PRNGKeyArray | None
    ) -> Float[Array, "K B _ F"]:
        """One-step predictions of every filtered step but the first; see `LatentDynamics`."""
        return self.dynamics.next_features(posterior, num_samples=num_samples, key=key)

    def feature(self, state: State) -> Float[Array, "*B F"]:
        """All three states side by side."""
        return jnp.concatenate([state.stoch, state.deter, state.aux], axis=-1)

    @property
    def blocks(self) -> dict[str, int]:
        """Widths of the three states, in the feature's order."""
        return self.config.blocks

    @property
    def num_sampled(self) -> int:
        """Entries of u and h."""
        return self.config.stoch + self.config.aux_width

    def with_feature(self, state: State, feature: Float[Array, "*B F"]) -> State:
        """The state with these u, d and h; the context stays."""
        stoch, deter, aux = self.config.split(feature)
        return dataclasses.replace(state, stoch=stoch, deter=deter, aux=aux)

    def decode(self, feature: Float[Array, "*B F"], body: Body = None) -> Float[Array, "*B O"]:
        """The expected (normalised) observation; padded entries are meaningless."""
        return self.bodies.decode(self.decoder, feature, body)

    def draw(self, feature: Float[Array, "*B F"]) -> Float[Array, "*B _ _ 3"]:
        """The expected picture, in [0, 1]."""
        stoch, deter, aux = self.config.split(feature)
        return drawn(self.pixels, deter, jnp.concatenate([stoch, aux], axis=-1))

    def reward_logits(self, feature: Float[Array, "*B F"]) -> Float[Array, "*B K"]:
        """Logits of the reward's bins, `reward_head.bins`."""
        return self.reward_head.logits(feature)

    def reward(self, feature: Float[Array, "*B F"]) -> Float[Array, "*B"]:
        """The expected reward on arriving at a state."""
        return self.reward_head(feature)

    def cont_logit(self, feature: Float[Array, "*B F"]) -> Float[Array, "*B"]:
        """Log-odds that the episode goes on after a state."""
        return self.cont_head(feature)

    def cont(self, feature: Float[Array, "*B F"]) -> Float[Array, "*B"]:
        """The probability that the episode goes on after a state."""
        return jax.nn.sigmoid(self.cont_head(feature))

    def _advance(
        self,
        state: State,
        action: Float[Array, "*B A"],
        stoch: Normal,
        aux: Normal,
        noise: Noise | None,
        error: Shift = None,
    ) -> State:
        """Sample u and h, and advance d; the context stays."""
        errors = self.config.shares(error)
        drawn = disturbed(stoch.sample(None if noise is None else noise.stoch), errors.stoch)
        return dataclasses.replace(
            state,
            stoch=drawn,
            deter=self.dynamics.remember(state.deter, drawn, action),
            aux=disturbed(aux.sample(None if noise is None else noise.aux), errors.aux),
        )

    def _seen(self, obs: Float[Array, "*B O"], body: Body, image: Image) -> Float[Array, "*B E"]:
        """What the shared networks read of masked observations and their pictures."""
        return beside(self.bodies.obs(obs, body), self.pixels, image)

    def _push(
        self,
        state: State,
        obs: Float[Array, "*B O"],
        action: Float[Array, "*B A"],
        reward: Float[Array, "*B"],
    ) -> State:
        context, memory = self.context.push(state.memory, obs, action, reward)
        return dataclasses.replace(state, context=context, memory=memory)
