"""Numbers that the authors' implementation of DreamerV3 gave for random inputs."""

import functools
import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from mrcom.core.rng import root_key
from mrcom.models.rssm import RSSM
from mrcom.models.rssm_parts import RSSMConfig

HERE = pathlib.Path(__file__).parents[1] / "data" / "reference_dreamerv3.npz"


@functools.cache
def reference():
    """Arrays by name, of the committed file or of the one that MRCOM_REFERENCE names."""
    with np.load(os.environ.get("MRCOM_REFERENCE", HERE)) as file:
        return {name: np.array(file[name]) for name in file.files}


def array(name):
    return jnp.asarray(reference()[name])


def reference_model():
    """A model of the reference's sizes, with the reference's weights."""
    groups = array("rssm/weights/dyngru/kernel").shape[0]
    _, stoch, classes = array("rssm/stoch").shape
    config = RSSMConfig(
        deter=array("rssm/deter").shape[1],
        groups=groups,
        hidden=array("rssm/weights/dynin0/bias").shape[0],
        stoch=stoch,
        classes=classes,
        units=array("rssm/tokens").shape[1],
        observe_reward=False,
    )
    model = RSSM(config, 3, array("rssm/action").shape[1], key=root_key(0))
    cell, prior, posterior = model.cell, model.prior_net, model.posterior_net
    layers = {
        "dynin0": (cell.memory.hidden[0], cell.memory.norms[0]),
        "dynin1": (cell.sample.hidden[0], cell.sample.norms[0]),
        "dynin2": (cell.action.hidden[0], cell.action.norms[0]),
        "dynhid0": (cell.hidden, cell.norm),
        "dyngru": (cell.gates, None),
        "prior0": (prior.hidden[0], prior.norms[0]),
        "prior1": (prior.hidden[1], prior.norms[1]),
        "priorlogit": (prior.out, None),
        "obs0": (posterior.hidden[0], posterior.norms[0]),
        "obslogit": (posterior.out, None),
    }
    new = {}
    for name, (linear, norm) in layers.items():
        at = f"rssm/weights/{name}"
        new[id(linear.weight)] = array(f"{at}/kernel")
        new[id(linear.bias)] = array(f"{at}/bias").reshape(linear.bias.shape)
        if norm is not None:
            new[id(norm.scale)] = array(f"{at}norm/scale")
    given = [name for name in reference() if name.startswith("rssm/weights/")]
    assert len(new) == len(given)
    return jax.tree.map(lambda leaf: new.get(id(leaf), leaf), model)
