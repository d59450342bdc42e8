"""Meta-state regularisation: u shall tell no more of an observation than actions explain."""

import dataclasses

from jaxtyping import Array, Float

from mrcom.nn.distributions import Normal
from mrcom.objectives.kl import KLConfig, balanced_kl


def meta_state_reweight(kl_stoch: Float[Array, "B T"]) -> Float[Array, "B T"]:
    """The divergence of u's prior and posterior once more, as printed.

    The printed loss is the u-part of the variational loss, so that weighing both gives
    (lambda_var + lambda_s) KL_u. Nothing is computed a second time: this *is* that array,
    under a name of its own, so that it can be weighed, logged and taken out apart.

    Equation: mrcom.eq12
    """
    return kl_stoch


def meta_state_bound(posterior: Normal, reference: Normal, config: KLConfig) -> Float[Array, "*B"]:
    """KL(q(u | C, a, o) || r(u | C, a)) with a separately learned r, in nats.

    The last line of the paper's derivation: an upper bound of the information that u holds
    about the observation beyond context and action, for any r; tightest for the best r.

    Args:
        posterior: u given context, action and observation.
        reference: r, of its own head; not u's prior.
        config: free nats and balance: `dyn` teaches r, `rep` is the pressure on the posterior. Its
            `direction` is not read, since the other way round there is no bound.

    Equation: mrcom.eq11
    """
    config = dataclasses.replace(config, direction="posterior_prior")
    return balanced_kl(posterior, reference, config)
