"""What a world model that sees pictures thinks will be seen."""

import equinox as eqx
from jaxtyping import Array, Float, PRNGKeyArray

from mrcom.agents.acting import AbstractFilter, dreamt_features
from mrcom.core.errors import ConfigError
from mrcom.core.types import Batch
from mrcom.models.contextual import ContextualModel
from mrcom.models.rssm import RSSM
from mrcom.models.world_model import DreamContext


@eqx.filter_jit
def draw_open_loop(
    given: AbstractFilter,
    batch: Batch,
    key: PRNGKeyArray,
    *,
    horizon: int,
    dream_context: DreamContext,
) -> Float[Array, "B H S S 3"]:
    """Pictures in [0, 1] of the last steps, one dream each under the actions that were taken.

    Raises:
        ConfigError: the model sees no pictures.
    """
    if not isinstance(given.model, ContextualModel | RSSM):
        raise ConfigError(f"A {type(given.model).__name__} sees no pictures, so it draws none.")
    features = dreamt_features(given, batch, key, horizon, 1, dream_context)
    return given.model.draw(features[0])
