"""Scores, logs and dreams of a run that never was."""

import numpy as np

from mrcom.evaluate.dreams import DreamtStart
from mrcom.evaluate.scores import Score

LEVELS = {"random": 40.0, "expert": 800.0, "behaviour": 250.0, "adapted": 450.0, "sac": 200.0}
SPEEDS = {"hopper": (0.7, 1.8), "walker": (1.5, 6.5), "cheetah": (3.2, 8.9)}


def invented_scores(*, seeds=(0,), episodes=8, spread=25.0, levels=LEVELS):
    rng, scores = np.random.default_rng(0), []
    for body, speeds in SPEEDS.items():
        for inside, speed in zip((True, False), speeds, strict=True):
            for method, level in levels.items():
                for seed in seeds if method not in ("random", "expert") else (0,):
                    shift = 0.0 if inside else -60.0 * (method == "adapted")
                    for episode in range(episodes):
                        value = level + shift + spread * float(rng.normal())
                        shares = 100 * (value - 40) / 760
                        score = Score(
                            method, seed, f"{body}{speed}", body, inside, speed, episode,
                            value, shares, 3000, 1500, "tiny",
                        )  # fmt: skip
                        scores.append(score)
    return scores


def invented_log(updates=2000):
    rng, records = np.random.default_rng(1), []
    for phase in range(7):
        counters = {"env_steps": 48_000 * (phase + 1), "updates": updates * phase // 7}
        returns = {f"return/{b}": 60 + 40 * phase + 9 * rng.normal() for b in SPEEDS}
        records.append({"stage": "collect", **counters, **returns})
    for update in range(20, updates + 1, 20):
        slow = np.exp(-update / 500)
        terms = {
            "reconstruction": 5 * slow + 1, "reward": 2 * slow + 0.4, "cont": 0.01 * slow,
            "kl_stoch": 1 + slow, "kl_aux": 0.6 + 0.1 * slow, "meta_state": 0.5, "meta_value": 0.2,
        }  # fmt: skip
        noisy = {f"loss/{k}": v * (1 + 0.1 * rng.normal()) for k, v in terms.items()}
        records.append(
            {
                "stage": "train",
                "env_steps": 48_000,
                "updates": update,
                **noisy,
                "loss": sum(noisy.values()),
                "actor/dreamt_return": 0.6 * (1 - slow) + 0.02 * rng.normal(),
                "critic/value": 0.5 * (1 - slow) + 0.02 * rng.normal(),
                "actor/entropy": None if update == 20 else slow + 0.02 * rng.normal(),
            }
        )
    for stage, gain in (("adapted", 130), ("sac", 60)):
        for episode in range(1, 4):
            returns = {
                f"return/{body}/{number}fab82c119d0": 50 + gain * episode + 10 * number
                for number, body in enumerate(SPEEDS)
            }
            steps = {"env_steps": 6000 * episode, "updates": 500 * episode}
            records.append({"stage": stage, **steps, **returns})
    return records


def invented_start(title="3.20 m/s, inside", past=17, horizon=25, samples=16, obs=17, seed=0):
    rng = np.random.default_rng(seed)
    time = np.arange(past + horizon)[:, None] / 10
    real = np.sin(time + np.arange(obs) + seed) * (1 + np.arange(obs))
    drift = np.cumsum(0.12 * rng.normal(size=(samples, horizon, obs)), axis=1) * (
        1 + np.arange(obs)
    )
    reward = np.clip(0.5 + 0.4 * np.sin(time[:, 0] + seed), 0, 1)
    noise = np.cumsum(0.04 * rng.normal(size=(samples, horizon)), axis=1)
    return DreamtStart(
        title, real[:past], reward[:past], real[past:], reward[past:],
        real[past:] + drift, np.clip(reward[past:] + noise, 0, 1),
    )  # fmt: skip
