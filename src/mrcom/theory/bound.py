"""Lemmas 3 to 5 and Theorem 6 of arXiv 2511.06252: how far a dream's return can be off.

Symbols, all of them numbers of at least 0 or arrays of such:

    eps_t     largest total variation between the model's and a scenario's next meta-state, over
              states and actions (eps_T)
    eps_s     largest distance between the encoded and the true meta-state, |f(o) - f*(o)| (eps_S)
    eps_pi    largest total variation between two policies at one true meta-state (eps_pi)
    c_t       largest change of the model's next meta-state, in total variation, per unit of
              distance between the meta-states it starts from (C_T)
    c_pi      largest change of the policy, as a sum over actions of |change of probability|, per
              unit of distance (C_pi). Total variation is half of that sum.

The paper prints gradients of sums, "max_s grad_s sum_a pi_1(a|s)". Read to the letter that is 0 for
every policy, since probabilities add up to 1; the magnitude belongs inside the sum, as above.
Lemma 3 prints f(o') for the next state. It holds where the next state is identified by the true
map f*: two points that are close, but not equal, have total variation 1.
`docs/theory.md` measures both.
"""

import numpy as np
from jaxtyping import Float

from mrcom.core.errors import ConfigError

Numbers = float | Float[np.ndarray, "..."]
"""One number, or one of each of several worlds."""


def total_variation(
    p: Float[np.ndarray, "*#W K"], q: Float[np.ndarray, "*#W K"]
) -> Float[np.ndarray, "..."]:
    """Half the sum of |p - q| over the last axis: 0 where equal, 1 where they share nothing."""
    return np.asarray(0.5 * np.abs(p - q).sum(axis=-1))


def dynamics_bound(eps_t: Numbers, eps_s: Numbers, c_t: Numbers) -> Numbers:
    """Total variation of the next meta-state where the model starts from an encoded one.

        D_TV(T~(. | f(o), a) || T^i(. | s, a))  <=  eps_T + C_T eps_S

    The triangle inequality over T~(. | f*(o), a). As printed and as derived are the same.

    Equation: mrcom.lemma3
    """
    return eps_t + c_t * eps_s


def policy_bound(eps_pi: Numbers, eps_s: Numbers, c_pi: Numbers) -> Numbers:
    """Total variation between a policy at an encoded state and another at the true one.

        D_TV(pi_1(. | f(o)) || pi_2(. | s))  <=  eps_pi + C_pi eps_S / 2

    The triangle inequality over pi_1(. | f*(o)). As printed and as derived are the same.

    Equation: mrcom.lemma4
    """
    return eps_pi + 0.5 * c_pi * eps_s


def return_bound(
    eps_t: Numbers, eps_pi: Numbers, *, largest_reward: Numbers, discount: Numbers
) -> Numbers:
    """Difference of discounted returns under two dynamics and two policies.

        |G^1(pi_1) - G^2(pi_2)|  <=  2 R gamma (eps_pi + eps_T) / (1 - gamma)^2
                                     + 2 R eps_pi / (1 - gamma)

    After t steps two coupled trajectories differ with probability at most
    (t + 1) eps_pi + t eps_T, and then by at most 2 R a step. As printed and as derived are the
    same.

    Args:
        eps_t: see above; of the two dynamics.
        eps_pi: likewise of the two policies.
        largest_reward: R, of the reward's magnitude; both worlds pay the same for the same
            state and action.
        discount: gamma in [0, 1).

    Equation: mrcom.lemma5
    """
    _check(discount)
    left = 1.0 - discount
    far = 2.0 * largest_reward * discount * (eps_pi + eps_t) / left**2
    return far + 2.0 * largest_reward * eps_pi / left


def generalisation_bound(
    eps_t: Numbers,
    eps_s: Numbers,
    eps_pi: Numbers,
    c_t: Numbers,
    c_pi: Numbers,
    *,
    largest_reward: Numbers,
    discount: Numbers,
    as_printed: bool,
) -> Numbers:
    """Difference between the return in scenario i and in the learned world model.

    As printed:

        R gamma [4 eps_pi + 2 eps_T + (C_pi + 2 C_T) eps_S] / (1 - gamma)^2
        + 2 R (2 eps_pi + C_pi eps_S) / (1 - gamma)

    As derived, (2 C_pi + 2 C_T) stands in the first bracket. Both policies, the one in the
    scenario and the one in the model, are compared with a third that collected the data, so
    Lemma 5 is used twice, once with the model's error and once without. With Lemma 4 in both,

        2 (eps_pi + C_pi eps_S / 2) = 2 eps_pi + C_pi eps_S

    takes the place of eps_pi in Lemma 5, and eps_T + C_T eps_S that of eps_T. The printed second
    bracket agrees with that; the printed first one has half of its C_pi.

    The printed one holds nevertheless. The model lives on meta-states, so the encoder errs in the
    scenario alone, and the policies differ by 2 eps_pi + C_pi eps_S / 2. That gives the printed
    first bracket, and a second one of 2 R (2 eps_pi + C_pi eps_S / 2), which is no larger than the
    printed.

    Args:
        eps_t: see above, like the next four.
        eps_s: of the encoder.
        eps_pi: of each policy and the one that collected the data.
        c_t: of the model.
        c_pi: of the policy that acts on encoded states.
        largest_reward: R, of the reward's magnitude.
        discount: gamma in [0, 1).
        as_printed: which of the two.

    Equation: mrcom.theorem6
    """
    _check(discount)
    left, policies = 1.0 - discount, (1.0 if as_printed else 2.0) * c_pi
    bracket = 4.0 * eps_pi + 2.0 * eps_t + (policies + 2.0 * c_t) * eps_s
    near = 2.0 * largest_reward * (2.0 * eps_pi + c_pi * eps_s) / left
    return largest_reward * discount * bracket / left**2 + near


def _check(discount: Numbers) -> None:
    if not np.all((np.asarray(discount) >= 0) & (np.asarray(discount) < 1)):
        raise ConfigError(f"discount={discount} must lie in [0, 1); 0.99 is usual.")
