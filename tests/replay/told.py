"""Trajectories whose every number says where it comes from."""

import numpy as np

from mrcom.core.types import Layout, Masks, Steps

LAYOUT = Layout(bodies=("hopper", "walker"), obs=3, act=2)


def told_steps(scenarios, *, length=10, episode=0):
    """Obs = 1000 scenario + 100 episode + time (+ dimension / 10); reward the same, negative."""
    number = 1000.0 * np.asarray(scenarios)[:, None] + 100 * episode + np.arange(length)
    number = number.astype(np.float32)
    rows = number.shape[0]
    terminal = np.zeros((rows, length), np.bool_)
    terminal[:, -1] = True
    return Steps(
        obs=number[:, :, None] + np.arange(3, dtype=np.float32) / 10,
        action=number[:, :, None] + np.array([0.5, 0.6], np.float32),
        reward=-number,
        is_terminal=terminal,
    )


def masks_for(num):
    """Even scenarios are hoppers of 2 dimensions and 1 action, odd ones walkers, full width."""
    body = np.arange(num) % 2
    obs = np.where(body[:, None] == 0, [1.0, 1, 0], [1.0, 1, 1]).astype(np.float32)
    act = np.where(body[:, None] == 0, [1.0, 0], [1.0, 1]).astype(np.float32)
    return Masks(obs, act, body, told=np.zeros((num, 3), np.float32))
