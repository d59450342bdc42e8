"""What a world is: bodies, scenarios, splits. Data only, no simulator and no JAX."""

from mrcom.scenarios.bodies import BODIES, body, register
from mrcom.scenarios.body_file import BodyFile, beside, read_body_file
from mrcom.scenarios.embodiment import Attachment, Embodiment, Limb, Physics
from mrcom.scenarios.layout import layout_of, masks_of
from mrcom.scenarios.observation import (
    OBSERVATIONS,
    ObservationFunction,
    observation_function,
)
from mrcom.scenarios.rewards import REWARDS
from mrcom.scenarios.scenario import LimbScale, Scenario
from mrcom.scenarios.splits import SPLITS, Box, Split, sample_scenarios, split

__all__ = [
    "BODIES",
    "OBSERVATIONS",
    "REWARDS",
    "SPLITS",
    "Attachment",
    "BodyFile",
    "Box",
    "Embodiment",
    "Limb",
    "LimbScale",
    "ObservationFunction",
    "Physics",
    "Scenario",
    "Split",
    "beside",
    "body",
    "layout_of",
    "masks_of",
    "observation_function",
    "read_body_file",
    "register",
    "sample_scenarios",
    "split",
]
