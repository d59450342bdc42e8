"""A world model of three states: what actions control, memory, and what they do not control."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mrcom.core.errors import ConfigError
from mrcom.core.rng import named_keys
from mrcom.core.types import Batch, Prompt
from mrcom.models.context import AbstractContext, ContextTransformer, NoContext
from mrcom.models.latent import ContextualConfig, Noise, Posterior, State, Statistics
from mrcom.models.world_model import AbstractWorldModel, DreamContext
from mrcom.nn.distributions import Normal, normal_of
from mrcom.nn.heads import BernoulliHead, TwoHotHead
from mrcom.nn.mlp import MLP, Linear
from mrcom.nn.recurrent import GRUCell, RecurrentNormal


class ContextualModel(AbstractWorldModel):
    """Contextual world model with stochastic, recurrent and auxiliary state.

        u_t ~ p(u | C_t, a_t)       d_t = f(d_{t-1}, u_t, a_t)       h_t ~ p(h | C_t, h_{t-1})
        u_t ~ q(u | C_t, a_t, o_t)                                   h_t ~ q(h | C_t, h_{t-1}, o_t)

    The stochastic state u reads no memory, so its prior and posterior are computed for all
    steps at once; only d and h run through time. A part that was taken out has width 0.
    """

    context: AbstractContext
    start: Linear
    """First d and h, from the context: the history before the first step."""
    stoch_prior: MLP
    stoch_posterior: MLP
    reference: MLP | None
    cell: GRUCell
    aux_prior: RecurrentNormal
    aux_posterior: RecurrentNormal
    decoder: MLP
    reward_head: TwoHotHead
    cont_head: BernoulliHead
    config: ContextualConfig = eqx.field(static=True)

    def __init__(self, config: ContextualConfig, obs: int, act: int, *, key: PRNGKeyArray):
        """Fresh parameters for observations and actions of these padded widths."""
        k = named_keys(
            key, "context", "start", "stoch_prior", "stoch_posterior", "reference", "cell",
            "aux_prior", "aux_posterior", "decoder", "reward", "cont",
        )  # fmt: skip
        width, deter, aux = config.context.width, config.deter_width, config.aux_width
        units, layers, latent = config.units, config.layers, 2 * config.stoch
        self.config = config
        self.context = (
            ContextTransformer(
                config.context, obs, act, observe_reward=config.observe_reward, key=k.context
            )
            if "context" in config.parts
            else NoContext(width, key=k.context)
        )
        self.start = Linear(width, deter + aux, key=k.start)
        prior = lambda key: MLP(width + act, units, layers, latent, key=key)
        self.stoch_prior = prior(k.stoch_prior)
        self.stoch_posterior = MLP(width + act + obs, units, layers, latent, key=k.stoch_posterior)
        self.reference = prior(k.reference) if "reference" in config.parts else None
        self.cell = GRUCell(config.stoch + act, deter, key=k.cell)
        recurrent = lambda inputs, key: RecurrentNormal(
            inputs, aux, config.aux_units, min_std=config.min_std, key=key
        )
        self.aux_prior = recurrent(width, k.aux_prior)
        self.aux_posterior = recurrent(width + obs, k.aux_posterior)
        self.decoder = MLP(config.feature, units, layers, obs, key=k.decoder)
        self.reward_head = TwoHotHead(
            config.feature,
            units,
            config.head_layers,
            config.reward_bins,
            config.reward_limit,
            key=k.reward,
        )
        self.cont_head = BernoulliHead(config.feature, units, config.head_layers, key=k.cont)

    def initial(
        self, prompt: Prompt, obs_mask: Float[Array, "N O"], act_mask: Float[Array, "N A"]
    ) -> State:
        """State before anything real is seen: the context is the prompt's last steps."""
        self._check_window(prompt.reward.shape[1], at_least=self.config.context.window)
        contexts, memory = self.context.read(
            prompt.obs * obs_mask[:, None],
            self._indexed(prompt.action * act_mask[:, None]),
            prompt.reward,
            prompt.valid,
        )
        rows = jnp.arange(prompt.reward.shape[0])
        memory = self.context.recall(memory, rows, jnp.full_like(rows, prompt.reward.shape[1] - 1))
        deter, aux = self._start(contexts[:, -1])
        stoch = jnp.zeros((*rows.shape, self.config.stoch))
        return State(stoch, deter, aux, contexts[:, -1], memory, obs_mask, act_mask)

    def observe(self, batch: Batch, *, key: PRNGKeyArray | None) -> Posterior:
        """Filter the steps of a batch that follow its first window.

        `batch.obs` must be normalised. The context of all steps comes from one pass.
        """
        window = self.config.context.window
        self._check_window(batch.reward.shape[1], at_least=window + 1)
        noise = self._noise(key, (batch.reward.shape[0], batch.reward.shape[1] - window))
        return self.filter(batch, noise)

    def filter(self, batch: Batch, noise: Noise | None) -> Posterior:
        """`observe` with given draws; without any, means instead of samples."""
        window = self.config.context.window
        obs = batch.obs * batch.obs_mask[:, None]
        action = self._indexed(batch.action * batch.act_mask[:, None])
        contexts, memory = self.context.read(obs, action, batch.reward, batch.valid)
        contexts = contexts[:, window - 1 :]  # C_t for the trained steps, and the one after them
        before, obs, action = contexts[:, :-1], obs[:, window:], action[:, window:]

        known = jnp.concatenate([before, action], axis=-1)
        stoch_prior = self._normal(self.stoch_prior(known))
        seen = jnp.concatenate([known, obs], axis=-1)
        stoch_posterior = self._normal(self.stoch_posterior(seen))
        stoch = stoch_posterior.sample(None if noise is None else noise.stoch)

        gates = self.cell.project(jnp.concatenate([stoch, action], axis=-1))
        hidden = self.aux_posterior.project(jnp.concatenate([before, obs], axis=-1))
        first = self._start(before[:, 0])
        deter, aux, aux_posterior = self._unroll(
            first, gates, hidden, None if noise is None else noise.aux
        )
        previous = jnp.concatenate([first[1][:, None], aux[:, :-1]], axis=1)
        return Posterior(
            stoch=stoch,
            deter=deter,
            aux=aux,
            context=contexts,
            stoch_prior=stoch_prior,
            stoch_posterior=stoch_posterior,
            aux_prior=self.aux_prior(self.aux_prior.project(before), previous),
            aux_posterior=aux_posterior,
            reference=None if self.reference is None else self._normal(self.reference(known)),
            action=action,
            memory=memory,
            obs_mask=batch.obs_mask,
            act_mask=batch.act_mask,
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
        )

    def correct(
        self,
        state: State,
        obs: Float[Array, "*B O"],
        action: Float[Array, "*B A"],
        reward: Float[Array, "*B"],
        *,
        key: PRNGKeyArray | None,
    ) -> tuple[State, Statistics]:
        """Advance by `action`, then take in what was seen."""
        return self.update(state, obs, action, reward, self._noise(key, reward.shape))

    def update(
        self,
        state: State,
        obs: Float[Array, "*B O"],
        action: Float[Array, "*B A"],
        reward: Float[Array, "*B"],
        noise: Noise | None,
    ) -> tuple[State, Statistics]:
        """`correct` with given draws; without any, means instead of samples."""
        obs, action = obs * state.obs_mask, action * state.act_mask
        seen = jnp.concatenate([state.context, action, obs], axis=-1)
        stoch = self._normal(self.stoch_posterior(seen))
        hidden = self.aux_posterior.project(jnp.concatenate([state.context, obs], axis=-1))
        aux = self.aux_posterior(hidden, state.aux)
        state = self._advance(state, action, stoch, aux, noise)
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
        action = action * state.act_mask
        known = jnp.concatenate([state.context, action], axis=-1)
        stoch = self._normal(self.stoch_prior(known))
        aux = self.aux_prior(self.aux_prior.project(state.context), state.aux)
        noise = self._noise(key, action.shape[:-1])
        state = self._advance(state, action, stoch, aux, noise)
        if dream_context == "frozen":
            return state, Statistics(stoch, aux)
        feature = self.feature(state)
        obs, reward = self.decode(feature) * state.obs_mask, self.reward(feature)
        return self._push(state, obs, action, reward), Statistics(stoch, aux, obs, reward)

    def next_features(
        self, posterior: Posterior, *, num_samples: int, key: PRNGKeyArray | None
    ) -> Float[Array, "K B T-1 F"]:
        """One-step predictions of every filtered step but the first, with the real actions.

        Entry [:, :, t] are `num_samples` draws of step t + 1's feature given the filtered state
        of step t and the action that really followed; where `key` is None, one entry made of
        the priors' means. Gradients reach the priors, the cell, the context and the states.
        """
        stoch, aux = (
            Normal(p.mean[None, :, 1:], p.std[None, :, 1:])
            for p in (posterior.stoch_prior, posterior.aux_prior)
        )
        num = 1 if key is None else num_samples
        shape = (num, *stoch.mean.shape[1:-1])
        noise = self._noise(key, shape)
        drawn = stoch.sample(None if noise is None else noise.stoch)
        action = jnp.broadcast_to(
            posterior.action[None, :, 1:], (*shape, posterior.action.shape[-1])
        )
        previous = posterior.deter[None, :, :-1]
        shares = self.cell.project(jnp.concatenate([drawn, action], axis=-1))
        deter = self.cell.gate(shares + self.cell.remember(previous), previous)
        return jnp.concatenate(
            [drawn, deter, aux.sample(None if noise is None else noise.aux)], axis=-1
        )

    def feature(self, state: State) -> Float[Array, "*B F"]:
        """All three states side by side."""
        return jnp.concatenate([state.stoch, state.deter, state.aux], axis=-1)

    def decode(self, feature: Float[Array, "*B F"]) -> Float[Array, "*B O"]:
        """The expected (normalised) observation; padded entries are meaningless."""
        return self.decoder(feature)

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

    def _normal(self, raw: Float[Array, "*B P"]) -> Normal:
        return normal_of(raw, self.config.min_std)

    def _noise(self, key: PRNGKeyArray | None, shape: tuple[int, ...]) -> Noise | None:
        if key is None:
            return None
        sizes = [self.config.stoch, self.config.aux_width]
        drawn = jax.random.normal(key, (*shape, sum(sizes)))
        return Noise(*jnp.split(drawn, sizes[:1], axis=-1))

    def _start(
        self, context: Float[Array, "*B C"]
    ) -> tuple[Float[Array, "*B D"], Float[Array, "*B X"]]:
        deter, aux = jnp.split(self.start(context), [self.config.deter_width], axis=-1)
        return jnp.tanh(deter), aux

    def _unroll(
        self,
        first: tuple[Float[Array, "B D"], Float[Array, "B X"]],
        gates: Float[Array, "B T G"],
        hidden: Float[Array, "B T S"],
        noise: Float[Array, "B T X"] | None,
    ) -> tuple[Float[Array, "B T D"], Float[Array, "B T X"], Normal]:
        """Memory and auxiliary state through time: the only loop of the filter."""

        def body(carry, inputs):
            deter, aux = carry
            gates, hidden, noise = inputs
            deter = self.cell(gates, deter)
            posterior = self.aux_posterior(hidden, aux)
            aux = posterior.sample(noise)
            return (deter, aux), (deter, aux, posterior)

        swap = lambda tree: jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), tree)
        return swap(jax.lax.scan(body, first, swap((gates, hidden, noise)))[1])

    def _advance(
        self,
        state: State,
        action: Float[Array, "*B A"],
        stoch: Normal,
        aux: Normal,
        noise: Noise | None,
    ) -> State:
        """Sample u and h, and advance d; the context is untouched."""
        drawn = stoch.sample(None if noise is None else noise.stoch)
        gates = self.cell.project(jnp.concatenate([drawn, action], axis=-1))
        return State(
            stoch=drawn,
            deter=self.cell(gates, state.deter),
            aux=aux.sample(None if noise is None else noise.aux),
            context=state.context,
            memory=state.memory,
            obs_mask=state.obs_mask,
            act_mask=state.act_mask,
        )

    def _push(
        self,
        state: State,
        obs: Float[Array, "*B O"],
        action: Float[Array, "*B A"],
        reward: Float[Array, "*B"],
    ) -> State:
        context, memory = self.context.push(state.memory, obs, action, reward)
        return State(
            state.stoch,
            state.deter,
            state.aux,
            context,
            memory,
            state.obs_mask,
            state.act_mask,
        )

    def _indexed(self, action: Float[Array, "B L A"]) -> Float[Array, "B L A"]:
        """The action that belongs to each step; of the last one nothing may be known."""
        if self.config.action_index == "previous":
            return action
        return jnp.concatenate([action[:, 1:], jnp.zeros_like(action[:, :1])], axis=1)

    def _check_window(self, steps: int, *, at_least: int) -> None:
        if steps < at_least:
            raise ConfigError(
                f"{steps} steps cannot fill a context window of {self.config.context.window}: "
                f"at least {at_least} are needed; pad with steps of `valid` 0."
            )
