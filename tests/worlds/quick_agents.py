"""The smallest agents of all methods, with rates at which some seconds show what they learn."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp

from mrcom.agents.build import METHODS, build_agent
from mrcom.agents.method import without
from mrcom.core.rng import root_key

DISCOUNT = 0.9
SAC = {
    "sac.discount": DISCOUNT,
    "sac.critic_rate": 3e-3,
    "sac.actor_rate": 1e-3,
    "sac.slow_rate": 0.05,
    # Without entropy: its worth would be a part of the twins' value.
    "sac.init_temperature": 1e-6,
    "sac.temperature_rate": 0.0,
    "critic.learning_rate": 3e-3,
}
CADM = {f"behaviour.{name}": value for name, value in SAC.items()} | {"learning_rate": 3e-3}
# What these worlds hide is less than the nat that is free, and dreams need not know it then.
QUICK = {
    "mrcom": {
        "behaviour.discount": DISCOUNT,
        "behaviour.learning_rate": 1e-3,
        "behaviour.meta_stride": 1,
        "behaviour.critic.learning_rate": 3e-3,
        "behaviour.critic.slow_rate": 0.05,
        # With one layer, the value of what comes next is .71 to .79 instead of .9.
        "behaviour.critic.layers": 2,
        "model.layers": 2,
        "learning_rate": 3e-3,
        "kl.free_nats": 0.0,
        "kl_aux.free_nats": 0.0,
    },
    "dreamer": {
        "model.discount": DISCOUNT,
        "optimizer.learning_rate": 2e-3,
        "optimizer.warmup": 50,
        "slow_rate": 0.05,
        "free_nats": 0.0,
        "windows.context": 0,
    },
    "mamba": {
        "discount": DISCOUNT,
        "model_rates.learning_rate": 3e-3,
        "actor_rates.learning_rate": 1e-3,
        "critic_rates.learning_rate": 3e-3,
        "critic_layers": 2,
        "slow_rate": 0.05,
        "free_nats": 0.0,
    },
    "cadm": CADM,
    "cadm-vanilla": CADM,
    "sac": SAC,
    "sac-told": SAC,
}


def quick_agent(name, layout, *, num_scenarios, memory, missing=()):
    """The agent of a method's name, with some loss terms or parts taken out.

    What remembers from an episode's first step on learns from `memory` steps.
    """
    long = {
        "dreamer": {"windows.length": memory},
        "mamba": {"windows.length": memory, "model.total_steps": memory - 1},
    }
    method = without(METHODS[name], *missing)
    # MrCoM's in dreams: how SAC learns on features is what `test_replayed_point` is about.
    behaviour = "imagination" if method.family == "mrcom" else None
    sizes = {"layout": layout, "num_scenarios": num_scenarios, "behaviour": behaviour}
    agent = build_agent(method, "debug", **sizes)
    for place, value in (QUICK[name] | long.get(name, {})).items():
        config = _changed(agent.config, place.split("."), value)
        agent = dataclasses.replace(agent, config=config)
    return agent


def learnt(agent, draw, *, updates, batches=50):
    """The state after whole updates on some batches, again and again, in one program."""
    data = jax.tree.map(lambda *parts: jnp.stack(parts), *[draw(n) for n in range(batches)])
    state, fixed = eqx.partition(agent.init(root_key(0)), eqx.is_array)

    @jax.jit
    def run(state, data):
        def update(state, number):
            batch = jax.tree.map(lambda x: x[number % batches], data)
            key = jax.random.fold_in(root_key(1), number)
            after, _ = agent.update(eqx.combine(state, fixed), batch, key)
            return eqx.filter(after, eqx.is_array), None

        return jax.lax.scan(update, state, jnp.arange(updates))[0]

    return eqx.combine(run(state, data), fixed)


def _changed(config, place, value):
    first, *rest = place
    value = _changed(getattr(config, first), rest, value) if rest else value
    return dataclasses.replace(config, **{first: value})
