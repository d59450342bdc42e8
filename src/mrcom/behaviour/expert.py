"""Experts: small policies that are told a scenario's true parameters. NumPy only.

A weight file is an `.npz` with `mean` and `std` of the inputs (observation, then
`Scenario.parameters()`), the layers `weight0, bias0, weight1, ...` and `record`, a line of JSON
that says how it was trained.
"""

import base64
import dataclasses
import functools
import importlib.resources
import io
import json
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from mrcom.core.errors import CheckpointError, ConfigError
from mrcom.core.files import arrays_in, write_arrays
from mrcom.core.steps import Layout
from mrcom.scenarios.bodies import body as body_named
from mrcom.scenarios.scenario import Scenario

VERSION = 1
NUM_PARAMETERS = 3
OBS_LIMIT = 10.0
"""Normalised inputs are clipped to this many standard deviations."""


@dataclasses.dataclass(frozen=True)
class Expert:
    """One body's policy over all its scenarios."""

    body: str
    """The body it moves."""
    mean: Float[np.ndarray, " _"]
    """Of the inputs in training."""
    std: Float[np.ndarray, " _"]
    """Of the inputs in training."""
    weights: tuple[Float[np.ndarray, "_ _"], ...]
    """Of the layers; SiLU stands between them."""
    biases: tuple[Float[np.ndarray, " _"], ...]
    """Of the layers."""
    record: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """How it was trained."""

    def __post_init__(self) -> None:
        """Refuse shapes that do not fit the body.

        Raises:
            CheckpointError: what was found and what was expected.
        """
        body = body_named(self.body)
        inputs = body.obs + NUM_PARAMETERS
        widths = [inputs, *(weight.shape[1] for weight in self.weights)]
        expected: dict[str, tuple[int, ...]] = {"mean": (inputs,), "std": (inputs,)}
        found: dict[str, tuple[int, ...]] = {"mean": self.mean.shape, "std": self.std.shape}
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            expected |= {f"weight{i}": (widths[i], widths[i + 1]), f"bias{i}": (widths[i + 1],)}
            found |= {f"weight{i}": weight.shape, f"bias{i}": bias.shape}
        expected[f"bias{len(self.biases) - 1}"] = (body.act,)
        for name, shape in expected.items():
            if found[name] != shape:
                raise CheckpointError(
                    f"The expert of {self.body!r} has {name} of shape {found[name]}, expected "
                    f"{shape}: {body.obs} observed quantities, {NUM_PARAMETERS} parameters, "
                    f"{body.act} actions."
                )

    def act(
        self, obs: Float[np.ndarray, "N O"], parameters: Float[np.ndarray, "N P"]
    ) -> Float[np.ndarray, "N A"]:
        """The most likely actions, in [-1, 1]; arguments as in `mean_action`."""
        return np.clip(self.mean_action(obs, parameters), -1.0, 1.0)

    def mean_action(
        self, obs: Float[np.ndarray, "N O"], parameters: Float[np.ndarray, "N P"]
    ) -> Float[np.ndarray, "N A"]:
        """The mean of the actions that training draws around; not clipped.

        Args:
            obs: plain observations, unpadded, raw units.
            parameters: `Scenario.parameters()` of each row.

        Raises:
            ConfigError: a width does not fit the body.
        """
        inputs = self.mean.shape[0]
        if parameters.shape[1] != NUM_PARAMETERS or obs.shape[1] != inputs - NUM_PARAMETERS:
            raise ConfigError(
                f"The expert of {self.body!r} reads {inputs - NUM_PARAMETERS} observed quantities "
                f"and {NUM_PARAMETERS} parameters, but was given {obs.shape[1]} and "
                f"{parameters.shape[1]}."
            )
        x = np.concatenate([obs, parameters], axis=1, dtype=np.float32)
        x = np.clip((x - self.mean) / self.std, -OBS_LIMIT, OBS_LIMIT)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = _silu(x @ weight + bias)
        return x @ self.weights[-1] + self.biases[-1]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the weight file, whole or not at all.

        Raises:
            RunFolderError: it cannot be written.
        """
        arrays = {"mean": self.mean, "std": self.std}
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            arrays |= {f"weight{i}": weight, f"bias{i}": bias}
        header = {"version": VERSION, "body": self.body, "layers": len(self.weights)}
        record = json.dumps(header | {"training": dict(self.record)})
        write_arrays(pathlib.Path(path), {"record": np.array(record)} | arrays)


def _silu(x: Float[np.ndarray, "N J"]) -> Float[np.ndarray, "N J"]:
    # x / (1 + exp(-x)) would overflow for large negative x; tanh does not.
    return x * (0.5 * np.tanh(0.5 * x) + 0.5)


def read_expert(path: str | os.PathLike[str], body: str | None = None) -> Expert:
    """The expert in a weight file.

    Raises:
        CheckpointError: missing, damaged, of another version or shape, or of another body
            than the one asked for.
    """
    path = pathlib.Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror or error}).") from error
    return _parsed(content, path.name, body)


def _parsed(content: bytes, name: str, body: str | None) -> Expert:
    try:
        stored = arrays_in(io.BytesIO(content))
        header = json.loads(str(stored["record"]))
        if header["version"] != VERSION:
            raise CheckpointError(f"{name} has version {header['version']}, expected {VERSION}.")
        if body is not None and header["body"] != body:
            raise CheckpointError(f"{name} is the expert of {header['body']!r}, expected {body!r}.")
        return Expert(
            header["body"],
            stored["mean"],
            stored["std"],
            tuple(stored[f"weight{i}"] for i in range(header["layers"])),
            tuple(stored[f"bias{i}"] for i in range(header["layers"])),
            header["training"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{name} is not a readable expert: {error}.") from error


@dataclasses.dataclass(frozen=True)
class OwnExpert:
    """A weight file for a body of the user's own, as text, to be kept in a configuration."""

    body: str
    """The body it moves."""
    weights: str
    """The file, in base 64."""

    def register(self) -> None:
        """Make it the body's expert.

        Raises:
            CheckpointError: it is no readable expert of that body.
            ConfigError: the body has another one.
        """
        if self.body in _own and _own[self.body][0] == self:
            return
        if has_expert(self.body):
            raise ConfigError(f"Body {self.body!r} has another expert already; start Python anew.")
        content = base64.b64decode(self.weights)
        _own[self.body] = self, _parsed(content, f"the expert of {self.body!r}", self.body)


_own: dict[str, tuple[OwnExpert, Expert]] = {}


def read_own_expert(path: str | os.PathLike[str], body: str) -> OwnExpert:
    """The weight file of a body's expert, to be kept.

    Raises:
        CheckpointError: as `read_expert`.
    """
    read_expert(path, body)
    return OwnExpert(body, base64.b64encode(pathlib.Path(path).read_bytes()).decode())


@functools.cache
def _shipped(body: str) -> Expert:
    with importlib.resources.as_file(importlib.resources.files("mrcom") / "experts") as folder:
        return read_expert(folder / f"{body}.npz", body)


def load_expert(body: str) -> Expert:
    """The expert of a body: the one that ships with the package, or that was registered.

    Raises:
        CheckpointError: there is none.
    """
    body_named(body)
    if not has_expert(body):
        raise CheckpointError(
            f"Body {body!r} has no expert. Train one with `mrcom expert --body`, and put its "
            f"weights beside the body's file as {body}.npz; or go without by --prompt own."
        )
    return _own[body][1] if body in _own else _shipped(body)


def has_expert(body: str) -> bool:
    """Whether a body has an expert."""
    shipped = importlib.resources.files("mrcom") / "experts" / f"{body}.npz"
    return body in _own or shipped.is_file()


class ExpertPolicy:
    """Experts of several bodies as one rollout policy.

    Args:
        scenarios: in the order of the observations' rows.
        layout: widths that observations and actions are padded to.
        experts: by body; by default those that ship with the package.
        plain_obs: where scenarios disturb their observations, the simulator's `plain_obs`;
            None reads what the rollout gives.
    """

    def __init__(
        self,
        scenarios: Sequence[Scenario],
        layout: Layout,
        *,
        experts: Mapping[str, Expert] | None = None,
        plain_obs: Callable[[], Float[np.ndarray, "N O"]] | None = None,
    ):
        bodies = dict.fromkeys(scenario.body for scenario in scenarios)
        self._experts = {
            body: load_expert(body) if experts is None else experts[body] for body in bodies
        }
        self._rows = {
            body: np.array([i for i, s in enumerate(scenarios) if s.body == body])
            for body in bodies
        }
        self._parameters = np.stack([scenario.parameters() for scenario in scenarios])
        self._layout, self._plain_obs = layout, plain_obs

    def start(self, num: int) -> None:
        """Nothing is remembered.

        Raises:
            ConfigError: the policy was made for another number of scenarios.
        """
        if num != len(self._parameters):
            raise ConfigError(
                f"This policy was made for {len(self._parameters)} scenarios, not {num}."
            )

    def act(
        self,
        carry: None,
        obs: Float[np.ndarray, "N O"],
        action: Float[np.ndarray, "N A"],
        reward: Float[np.ndarray, " N"],
    ) -> tuple[Float[np.ndarray, "N A"], None]:
        """Each body's expert on its own rows; padded actions are zero."""
        seen = obs if self._plain_obs is None else self._plain_obs()
        chosen = np.zeros((len(seen), self._layout.act), np.float32)
        for body, expert in self._experts.items():
            rows = self._rows[body]
            width = expert.mean.shape[0] - NUM_PARAMETERS
            acts = expert.act(seen[rows, :width], self._parameters[rows])
            chosen[rows, : acts.shape[1]] = acts
        return chosen, None
