"""What the numbers of an observation are, for figures."""

PANELS: dict[str, dict[int, str]] = {
    # The order of dm_control's observations: positions without x, velocities, touch.
    "hopper": {0: "torso height, offset [m]", 1: "torso pitch [rad]", 6: "forward speed [m/s]"},
    # Seven bodies' directions (x, z), height, velocities.
    "walker": {14: "torso height [m]", 1: "torso lean, z of its x axis", 16: "forward speed [m/s]"},
    # Positions without x, velocities.
    "cheetah": {0: "torso height, offset [m]", 1: "torso pitch [rad]", 8: "forward speed [m/s]"},
}
"""For each body the observations worth looking at, by index, with name and unit."""


def panels_of(body: str, num_obs: int, *, most: int = 3) -> dict[int, str]:
    """Which observations of a body to show, with their names; the first ones of any other."""
    known = PANELS.get(body, {})
    chosen = {index: name for index, name in known.items() if index < num_obs}
    others = {index: f"observation {index}" for index in range(num_obs)}
    return dict(list((chosen or others).items())[:most])
