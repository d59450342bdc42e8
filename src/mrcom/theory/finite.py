"""Finite worlds in which every quantity of the bound is known exactly."""

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from mrcom.theory.bound import total_variation


@dataclasses.dataclass(frozen=True)
class FiniteWorlds:
    """W scenarios with M observations that stand for S meta-states, A actions, and a model each.

    A scenario's next meta-state depends on the whole observation; which observation then shows
    the meta-state does not depend on what came before.
    """

    place: Float[np.ndarray, "W S"]
    """Where each meta-state lies on a line: what distances are measured by."""
    true: Int[np.ndarray, "W M"]
    """The meta-state of each observation (f*)."""
    encoded: Int[np.ndarray, "W M"]
    """What the encoder takes it for (f)."""
    shown: Float[np.ndarray, "W S M"]
    """Probability of an observation in a meta-state; 0 where it is another's."""
    scenario: Float[np.ndarray, "W M A S"]
    """Probability of the next meta-state (T^i)."""
    model: Float[np.ndarray, "W S A S"]
    """The same of the model, which knows meta-states only (T~)."""
    collector: Float[np.ndarray, "W M A"]
    """The policy that collected the data."""
    acting: Float[np.ndarray, "W S A"]
    """The policy that acts on encoded states."""
    dreaming: Float[np.ndarray, "W S A"]
    """The policy that acts in the model."""
    reward: Float[np.ndarray, "W S A"]
    """Of a true meta-state and an action."""
    start: Float[np.ndarray, "W M"]
    """Probability of the first observation."""
    discount: Float[np.ndarray, " W"]

    @property
    def largest_reward(self) -> Float[np.ndarray, " W"]:
        """R: of the reward's magnitude."""
        return np.abs(self.reward).max(axis=(1, 2))


@dataclasses.dataclass(frozen=True)
class Quantities:
    """What the bound is computed from; `mrcom.theory.bound` says what each is."""

    eps_t: Float[np.ndarray, " W"]
    eps_s: Float[np.ndarray, " W"]
    eps_pi: Float[np.ndarray, " W"]
    c_t: Float[np.ndarray, " W"]
    c_pi: Float[np.ndarray, " W"]


@dataclasses.dataclass(frozen=True)
class Differences:
    """What the bound is about."""

    dynamics: Float[np.ndarray, " W"]
    """Lemma 3: largest total variation of the next meta-state, from an encoded one."""
    dynamics_encoded: Float[np.ndarray, " W"]
    """The same where the scenario's next state is encoded too: f(o') to the letter."""
    policy: Float[np.ndarray, " W"]
    """Lemma 4: largest total variation of the acting policy from the collector."""
    plain: Float[np.ndarray, " W"]
    """Lemma 5: between the collector's return in the scenario and the dreamer's in the model."""
    gap: Float[np.ndarray, " W"]
    """Theorem 6: the largest difference of returns between the scenario, the model, and the model
    that is told at every step what the encoder makes of an observation."""
    gap_encoded_start: Float[np.ndarray, " W"]
    """The same where the dream begins in the encoded state instead of the true one."""


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Of a finite world."""

    states: int = 3
    """Meta-states (S)."""
    shown: int = 2
    """Observations of each."""
    actions: int = 2
    """Actions (A)."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of what worlds are made from."""
        s, a, m = self.states, self.actions, self.states * self.shown
        return {
            "place": (s,),
            "offset": (m,),
            "shown": (s, m),
            "model": (s, a, s),
            "other": (m, a, s),
            "policy": (s, a),
            "acting": (s, a),
            "dreaming": (s, a),
            "collector": (m, a),
            "reward": (s, a),
            "start": (m,),
            "discount": (),
            "share": (4,),
        }

    @property
    def parameters(self) -> int:
        """Numbers that make a world."""
        return sum(int(np.prod(shape)) for shape in self.shapes.values())


def worlds_of(parameters: Float[np.ndarray, "W P"], sizes: Sizes) -> FiniteWorlds:
    """Worlds made from real numbers, any of which are legal: what a search can move in.

    The scenario is the model but for a share, and so are all policies of a common one; a share
    that would be negative is 0. Unit normals make worlds with errors of every size.
    """
    ends = np.cumsum([int(np.prod(shape)) for shape in sizes.shapes.values()])[:-1]
    blocks = np.split(parameters, ends, axis=1)
    num, states = len(parameters), sizes.states
    raw = {
        name: block.reshape(num, *shape)
        for (name, shape), block in zip(sizes.shapes.items(), blocks, strict=True)
    }
    true = np.broadcast_to(np.arange(raw["offset"].shape[1]) % states, raw["offset"].shape)
    off, (share, *shares) = np.clip(raw["offset"], 0, None), np.moveaxis(_share(raw["share"]), 1, 0)
    moved = _at(raw["place"], true) + 0.3 * off
    encoded = np.abs(moved[..., None] - raw["place"][:, None]).argmin(axis=2)
    model, common = _chances(raw["model"]), _chances(raw["policy"])
    of_state = np.swapaxes(_one_hot(true, states), 1, 2)
    mixed = lambda one, other, share: (
        one + share.reshape(num, *[1] * (one.ndim - 1)) * (_chances(other) - one)
    )
    return FiniteWorlds(
        place=raw["place"],
        true=true,
        encoded=encoded,
        shown=_chances(np.where(of_state > 0, raw["shown"], -np.inf)),
        scenario=mixed(_at(model, true), raw["other"], share),
        model=model,
        collector=mixed(_at(common, true), raw["collector"], shares[0]),
        acting=mixed(common, raw["acting"], shares[1]),
        dreaming=mixed(common, raw["dreaming"], shares[2]),
        reward=np.clip(raw["reward"], -1.0, 1.0),
        start=_chances(raw["start"]),
        discount=0.99 / (1.0 + np.exp(-raw["discount"] - 1.0)),
    )


def quantities(worlds: FiniteWorlds, *, mean: bool = False) -> Quantities:
    """The exact ones; with `mean`, errors are averages over observations, not maxima."""
    largest = (lambda x: x.reshape(len(x), -1).mean(axis=1)) if mean else _largest
    apart = np.abs(worlds.place[:, :, None] - worlds.place[:, None])
    apart = np.where(apart > 0, apart, np.inf)
    of = lambda what: _at(what, worlds.true)
    policies = [total_variation(of(p), worlds.collector) for p in (worlds.acting, worlds.dreaming)]
    moved = total_variation(worlds.model[:, :, None], worlds.model[:, None])
    changed = 2.0 * total_variation(worlds.acting[:, :, None], worlds.acting[:, None])
    return Quantities(
        eps_t=largest(total_variation(of(worlds.model), worlds.scenario)),
        eps_s=largest(np.abs(_at(worlds.place, worlds.encoded) - _at(worlds.place, worlds.true))),
        eps_pi=np.maximum(*(largest(each) for each in policies)),
        c_t=_largest(moved / apart[..., None]),
        c_pi=_largest(changed / apart),
    )


def differences(worlds: FiniteWorlds) -> Differences:
    """Both sides of every statement but the bounds themselves, by linear systems."""
    acting, dreaming = (
        _at(policy, at)
        for policy, at in ((worlds.acting, worlds.encoded), (worlds.dreaming, worlds.true))
    )
    reward = _at(worlds.reward, worlds.true)
    told = _at(worlds.model, worlds.encoded)
    real = worlds.scenario
    go = lambda moves, policy: expected_return(
        np.einsum("wmas,wsn->wman", moves, worlds.shown),
        reward,
        policy,
        worlds.start,
        worlds.discount,
    )
    in_scenario, in_told = go(real, acting), go(told, acting)
    in_model, in_model_encoded = (
        expected_return(
            worlds.model,
            worlds.reward,
            worlds.dreaming,
            np.einsum("wm,wms->ws", worlds.start, _one_hot(at, worlds.place.shape[1])),
            worlds.discount,
        )
        for at in (worlds.true, worlds.encoded)
    )
    seen = _one_hot(worlds.encoded, worlds.place.shape[1])
    arrives = np.einsum("wmas,wsn,wnk->wmak", real, worlds.shown, seen)
    gaps = [in_scenario - in_model, in_told - in_model, in_told - go(real, dreaming)]
    return Differences(
        dynamics=_largest(total_variation(told, real)),
        dynamics_encoded=_largest(total_variation(told, arrives)),
        policy=_largest(total_variation(acting, worlds.collector)),
        plain=np.abs(go(real, worlds.collector) - in_model),
        gap=np.max(np.abs(gaps), axis=0),
        gap_encoded_start=np.abs(in_scenario - in_model_encoded),
    )


def expected_return(
    moves: Float[np.ndarray, "W N A N"],
    reward: Float[np.ndarray, "W N A"],
    policy: Float[np.ndarray, "W N A"],
    start: Float[np.ndarray, "W N"],
    discount: Float[np.ndarray, " W"],
) -> Float[np.ndarray, " W"]:
    """Discounted return of a policy: (1 - gamma P)^-1 r at the start."""
    chain = np.einsum("wna,wnak->wnk", policy, moves)
    gain = np.einsum("wna,wna->wn", policy, reward)
    system = np.eye(chain.shape[1]) - discount[:, None, None] * chain
    return np.einsum("wn,wn->w", start, np.linalg.solve(system, gain[..., None])[..., 0])


def _at(what: np.ndarray, state: Int[np.ndarray, "W M"]) -> np.ndarray:
    """The rows of each world that belong to a state of every observation."""
    return what[np.arange(len(what))[:, None], state]


def _one_hot(state: Int[np.ndarray, "W M"], num: int) -> Float[np.ndarray, "W M S"]:
    return np.eye(num)[state]


def _chances(x: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis, many of them near 0 or 1."""
    grown = np.exp(4.0 * (x - x.max(axis=-1, keepdims=True)))
    return grown / grown.sum(axis=-1, keepdims=True)


def _share(x: np.ndarray) -> np.ndarray:
    """Between 0 and 1, and 0 of half of all unit normals."""
    return np.clip(0.5 * x, 0.0, 1.0)


def _largest(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1).max(axis=1)
