"""How the hopper's expert that ships was made: one policy to get up, one to move, then both in one.

    python scripts/hopper_expert.py --riser OLD.npz --out runs/hopper

A hopper that starts anywhere learns to stand up, and then to shuffle along in a crouch that is paid
for half of the time. One that starts standing, and starts anew where it has fallen, learns to hop.

1. `starts`: where the riser, told to go slowly, first stands; the hopper that moves learns there.
2. `gait`: PPO from those starts and from the pose of the MJCF.
3. `merge`: one network imitates whoever is in charge, the riser until the body stands, the other
   one until it has fallen, in states that it reaches itself (DAgger, arXiv 1011.0686).

Each step leaves its file in the folder and is skipped where that is there.
"""

import argparse
import dataclasses
import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float

from mrcom.behaviour.expert import NUM_PARAMETERS, Expert, read_expert
from mrcom.behaviour.ppo import PPOConfig
from mrcom.behaviour.ppo_networks import MIN_STD, OBS_LIMIT, init_layers
from mrcom.core.rng import root_key
from mrcom.scenarios.bodies import body
from mrcom.scenarios.scenario import Scenario
from mrcom.scenarios.splits import Box, sample_scenarios
from mrcom.simulate.compile import compile_model
from mrcom.simulate.simulator import Simulator
from mrcom.train.expert import train_expert
from mrcom.train.expert_files import evaluate_expert
from mrcom.train.expert_groups import ExpertConfig, Stage, Starts, hopper_stance

BODY = "hopper"
SLOW = 0.1
"""Share of the fastest speed that the riser is told."""
HIDDEN = (256, 256)
"""Units of the network for both."""
KEPT = 800_000
"""Newest steps that it imitates."""
OPTIMIZER = optax.adam(1e-3)


def gait_stages() -> tuple[Stage, ...]:
    """Stand, hop, then hop with less and less noise."""
    first = ExpertConfig(
        PPOConfig(entropy=2e-3, initial_log_std=0.0, min_log_std=-0.8),
        assist=0.5,
        assist_steps=1e12,
    )
    found = [Stage(0, first)]
    for start, assist, floor in ((4_000_000, 0.2, -1.6), (8_300_000, 0.1, -2.0)):
        ppo = dataclasses.replace(first.ppo, entropy=5e-4, discount=0.995, min_log_std=floor)
        sizes = {"assist": assist, "episode_steps": 500, "group_size": 64}
        found.append(Stage(start, dataclasses.replace(first, ppo=ppo, **sizes)))
    return tuple(found)


def stands(obs: Float[np.ndarray, "N O"]) -> np.ndarray:
    """Whether the one that moves can begin."""
    return (hopper_stance(obs) > 0.8) & (tilt(obs) < 0.5)


def fallen(obs: Float[np.ndarray, "N O"]) -> np.ndarray:
    """Whether the riser has to begin again."""
    return (hopper_stance(obs) < 0.45) | (tilt(obs) > 1.2)


def tilt(obs: Float[np.ndarray, "N O"]) -> Float[np.ndarray, " N"]:
    """How far the trunk leans [rad]."""
    return np.abs((obs[:, 1] + np.pi) % (2 * np.pi) - np.pi)


def drawn(num: int, seed: int) -> list[Scenario]:
    """Scenarios of the widest box."""
    return sample_scenarios(BODY, Box(20.0, 100.0), num, seed, stream="expert training")


def parameters_of(scenarios: list[Scenario]) -> tuple[np.ndarray, np.ndarray]:
    """What the two policies are told of scenarios: the one that moves, and the riser."""
    told = np.stack([scenario.parameters() for scenario in scenarios])
    slow = told.copy()
    slow[:, 0] = SLOW
    return told, slow


def find_starts(riser: Expert, file: pathlib.Path, *, rounds: int, num: int) -> None:
    """Keep the states in which the riser first stands, as a hopper observes them."""
    found = []
    for seed in range(rounds):
        scenarios, rng = drawn(num, seed), np.random.default_rng(seed)
        simulator, (_, slow) = Simulator(scenarios), parameters_of(scenarios)
        obs, waits = simulator.reset(seed=seed), np.ones(num, bool)
        for _ in range(250):
            action = riser.mean_action(obs, slow)
            action = np.clip(action + rng.normal(0, 0.05, action.shape), -1, 1)
            obs, _ = simulator.step(action)
            found.append(obs[waits & stands(obs), :13])
            waits &= ~stands(obs)
    np.save(file, np.concatenate(found))


def starts_from(file: pathlib.Path) -> Starts:
    """The riser's states in three of five starts, else the pose of the MJCF, nearly.

    What a hopper observes first are its joints' positions but the horizontal one, then velocities.
    """
    states, rest = np.load(file).astype(np.float64), compile_model(Scenario(BODY)).qpos0

    def starts(rng: np.random.Generator, num: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = states[rng.integers(len(states), size=num)]
        qpos, qvel = np.zeros((num, 7)), chosen[:, 6:].copy()
        qpos[:, 1:] = chosen[:, :6]
        own = rng.random(num) < 0.4
        qpos[own] = rest + rng.uniform(-0.05, 0.05, (own.sum(), 7))
        qvel[own] = 0
        return qpos, qvel

    return starts


def merge(riser: Expert, gait: Expert, *, rounds: int, num: int, steps: int) -> Expert:
    """One network for both: it acts, and learns what whoever is in charge would have done."""
    rng, simulator = np.random.default_rng(0), Simulator(drawn(num, 0))
    net = init_layers((body(BODY).obs + NUM_PARAMETERS, *HIDDEN, body(BODY).act), 0.1, root_key(0))
    moments, student = OPTIMIZER.init(net), None
    inputs, wanted = np.zeros((0, net.weights[0].shape[0])), np.zeros((0, body(BODY).act))
    for number in range(rounds):
        scenarios = drawn(num, 1000 + number)
        simulator.set_scenarios(scenarios)
        told, slow = parameters_of(scenarios)
        obs, moves, returns = simulator.reset(seed=number), np.zeros(num, bool), np.zeros(num)
        seen, answers = [inputs], [wanted]
        for _ in range(400):
            moves = np.where(moves, ~fallen(obs), stands(obs))
            theirs = gait.mean_action(obs, told), riser.mean_action(obs, slow)
            teacher = np.where(moves[:, None], *theirs).clip(-1, 1)
            seen.append(np.concatenate([obs, told], axis=1))
            answers.append(teacher)
            action = teacher if student is None else student.mean_action(obs, told)
            obs, reward = simulator.step(np.clip(action + rng.normal(0, 0.1, action.shape), -1, 1))
            returns += reward
        inputs, wanted = np.concatenate(seen)[-KEPT:], np.concatenate(answers)[-KEPT:]
        if student is None:
            mean, std = inputs.mean(axis=0), np.maximum(inputs.std(axis=0), MIN_STD)
        data = jnp.asarray(((inputs - mean) / std).clip(-OBS_LIMIT, OBS_LIMIT)), jnp.asarray(wanted)
        rate = 100.0 ** (-number / rounds)
        net, moments, error = fit(net, moments, *data, root_key(number), rate, steps)
        weights, biases = (tuple(np.asarray(x) for x in part) for part in (net.weights, net.biases))
        student = Expert(BODY, mean, std, weights, biases, {})
        mean_return = returns.mean() * Simulator.episode_steps / 400
        print(f"round {number}: return {mean_return:.0f}, squared error {error:.4f}", flush=True)
    assert student is not None
    return student


@functools.partial(jax.jit, static_argnums=6)
def fit(net, moments, inputs, wanted, key, rate, steps):
    """So many gradient steps on the squared error; the new network, and its error on some rows."""
    error = lambda net, rows: jnp.mean((net(inputs[rows]) - wanted[rows]) ** 2)

    def step(carry, key):
        net, moments = carry
        rows = jax.random.randint(key, (1024,), 0, len(inputs))
        moved, moments = OPTIMIZER.update(jax.grad(error)(net, rows), moments)
        return (jax.tree.map(lambda p, m: p + rate * m, net, moved), moments), None

    (net, moments), _ = jax.lax.scan(step, (net, moments), jax.random.split(key, steps))
    return net, moments, error(net, jnp.arange(min(20_000, len(inputs))))


def main() -> None:
    """Make it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--riser", type=pathlib.Path, required=True, help="an expert that gets up")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder of the results")
    parser.add_argument("--env-steps", type=int, default=60_000_000, help="of the gait")
    parser.add_argument("--rounds", type=int, default=24, help="of the imitation")
    given = parser.parse_args()
    out, riser = given.out, read_expert(given.riser, BODY)
    out.mkdir(parents=True, exist_ok=True)
    starts, training, both = out / "starts.npy", out / "gait", out / "hopper.npz"
    if not starts.exists():
        find_starts(riser, starts, rounds=8, num=256)
    train_expert(
        BODY,
        run_dir=training,
        env_steps=given.env_steps,
        config=gait_stages(),
        starts=starts_from(starts),
        resume=training.exists(),
        report=lambda line: print(line, flush=True),
    )
    gait = read_expert(training / "latest.npz", BODY)
    student = merge(riser, gait, rounds=given.rounds, num=192, steps=6000)
    returns = evaluate_expert(student, drawn(96, 7), 0)
    print(f"return of its mode in 96 scenarios: {returns.mean():.0f}")
    record = {"riser": riser.record, "gait": gait.record, "return": float(returns.mean())}
    dataclasses.replace(student, record=record).save(both)
    print(both)


if __name__ == "__main__":
    main()
