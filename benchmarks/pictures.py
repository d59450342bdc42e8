"""Can a world model learn what a cheetah looks like? It overfits two short episodes of pictures.

python benchmarks/pictures.py --method dreamer --updates 800

Prints errors as sums over pixels and colours of squared distances in shares of full brightness:
of reconstructions while learning, and of dreams beside copying the last picture that was seen.
"""

import dataclasses
import time

import jax
import numpy as np
import tyro

from mrcom.agents.build import build_agent, method_named
from mrcom.agents.method import with_images
from mrcom.agents.picturing import draw_open_loop
from mrcom.core.rng import named_keys, root_key
from mrcom.replay.prompts import make_prompts
from mrcom.replay.store import Store
from mrcom.replay.windows import Windows, gather, sample_batch
from mrcom.scenarios import Box, layout_of, sample_scenarios
from mrcom.simulate import RandomPolicy, Simulator, rollout

STEPS, AHEAD, SEEN = 64, 8, 16


def small_agent(method: str, layout, rate: float):
    """The method at the smallest size, with more units: pictures as at 1M."""
    agent = build_agent(with_images(method_named(method)), "debug", layout=layout, num_scenarios=2)
    config = agent.config
    pixels = dataclasses.replace(config.model.pixels, units=64)
    if method == "dreamer":
        sizes = {"hidden": 64, "stoch": 16, "classes": 8}
        optimizer = dataclasses.replace(config.optimizer, learning_rate=rate, warmup=20)
        rates = {"optimizer": optimizer}
    else:
        sizes, rates = {"stoch": 32}, {"learning_rate": rate}
    model = dataclasses.replace(config.model, units=64, deter=128, pixels=pixels, **sizes)
    return dataclasses.replace(agent, config=dataclasses.replace(config, model=model, **rates))


def squared(a, b):
    """Summed over pixels and colours."""
    return np.square(np.asarray(a) - np.asarray(b)).sum(axis=(-3, -2, -1))


def main(method: str = "dreamer", updates: int = 800, rate: float = 3e-3) -> None:
    """Learn, and say how well."""
    scenarios = sample_scenarios("cheetah", Box(10, 50), 2, 0)
    layout = dataclasses.replace(layout_of(scenarios), image=64, blind=True)
    simulator = Simulator(scenarios, layout=layout)
    steps = rollout(simulator, RandomPolicy(simulator.masks), num_steps=STEPS, seed=0)
    agent = small_agent(method, layout, rate)
    store = Store(2, layout, steps=STEPS + 1, capacity=1, written=agent.stored)
    store.add(np.arange(2), steps)
    window = agent.windows
    prompts = make_prompts("own", num=2, layout=layout, window=window.context, steps=steps)
    real = steps.image / 255
    print(f"mean picture: {squared(real, real.mean(axis=(0, 1))).mean():.2f}")
    keys, rng = named_keys(root_key(0), "init", "update", "draw"), np.random.default_rng(0)
    state, begun = agent.init(keys.init), time.time()
    amount = {"num_scenarios": 2, "per_scenario": 4}
    for update in range(updates):
        batch = sample_batch(
            store,
            simulator.masks,
            prompts,
            rng,
            **amount,
            context=window.context,
            length=window.length,
        )
        state, metrics = agent.update_model(state, batch, jax.random.fold_in(keys.update, update))
        if (update + 1) % 50 == 0:
            loss = float(metrics["loss/image"])
            print(f"{update + 1}: {loss:.2f}, {time.time() - begun:.0f} s", flush=True)
    # Nothing before the dreams is a prompt: what is copied is the picture of the step before.
    first = np.arange(SEEN + window.context, STEPS + 1 - AHEAD)
    rows = np.repeat(np.arange(2), len(first))
    windows = Windows(rows, 0 * rows, np.tile(first, 2))
    context = SEEN + window.context
    batch = gather(store, simulator.masks, prompts, windows, context=context, length=AHEAD)
    options = {"horizon": AHEAD, "dream_context": agent.dream_context}
    drawn = draw_open_loop(state.filter, batch, keys.draw, **options)
    seen = np.asarray(batch.image) / 255
    truth, last = seen[:, -AHEAD:], seen[:, -AHEAD - 1, None]
    print("steps ahead:       ", *range(1, AHEAD + 1))
    print("dreamt:            ", *squared(drawn, truth).mean(axis=0).round(2))
    print("copied:            ", *squared(last, truth).mean(axis=0).round(2))


if __name__ == "__main__":
    tyro.cli(main)
