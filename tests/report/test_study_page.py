"""The page of the study says what the cells in the repository say."""

import pathlib

import numpy as np
import pytest

from mrcom.evaluate.latent_study import Cell
from mrcom.evaluate.scores import read_records
from mrcom.report.latent_study import rmse

ROOT = pathlib.Path(__file__).parents[2]
WEIGHTS = ("Jacobian 0.1", "Jacobian 1", "Jacobian 10")


@pytest.fixture(scope="module")
def cells():
    file = ROOT / "benchmarks" / "results" / "latent_error" / "cells.jsonl"
    shown = ("no penalty", *WEIGHTS)
    found = [cell for cell in read_records(file, Cell) if cell.control in shown]
    assert len(found) == 48 and {cell.error for cell in found} == {"drift"}
    return found


@pytest.fixture(scope="module")
def page():
    return " ".join((ROOT / "docs" / "latent_error.md").read_text().split())


def left(cell, quantity, ahead=50):
    """How much more dreams from states with the error are wrong so many steps ahead."""
    return (rmse(cell.erring, quantity) - rmse(cell.exact, quantity))[ahead - 1]


def test_what_is_left_of_the_latent_error_is_said_of_every_quantity(cells, page):
    most = lambda quantity, some: max(abs(left(cell, quantity)) for cell in some)
    others = [cell for cell in cells if cell.body != "quadruped"]
    assert f"of the 48 cells is {most('obs', cells):.3f} standard" in page
    assert f"hopper features do not either (at most {most('latent', others):.3f})" in page
    features = max(left(cell, "latent") for cell in cells)
    assert f"features by up to {features:.3f} more" in page
    assert features == most("latent", cells)
    rewards = min(left(cell, "reward") for cell in cells)
    assert f"rewards by up to {-rewards:.3f} less" in page
    assert -rewards == most("reward", cells)


def test_intervals_below_0_are_counted_for_latent_and_reward_too(cells, page):
    last = {(c.body, c.control, c.seed): c.erring for c in cells}
    change = lambda body, weight, quantity: [
        float(
            rmse(last[body, weight, seed], quantity)[-1]
            - rmse(last[body, "no penalty", seed], quantity)[-1]
        )
        for seed in (0, 1, 2)
    ]
    bodies = ("walker", "quadruped", "cheetah", "hopper")
    below = {
        (quantity, body, weight)
        for quantity in ("obs", "latent", "reward")
        for body in bodies
        for weight in WEIGHTS
        # Of three seeds an interval reaches from the least difference to the greatest.
        if max(change(body, weight, quantity)) < 0
    }
    assert below == {("latent", "walker", "Jacobian 1")}
    low, high = np.sort(np.abs(change("walker", "Jacobian 1", "latent")))[[0, -1]]
    assert f"the walker's latent with weight 1 (by {low:.3f} to {high:.3f})" in page
