"""What is said of values that cannot be: the nearest that can."""

import pytest

from mrcom.core.errors import ConfigError, check_multiple


@pytest.mark.parametrize(
    ("value", "near"), [(17, "are 16 and 24"), (3, "is 8"), (0, "is 8"), (-9, "is 8")]
)
def test_the_nearest_multiples_are_those_above_zero(value, near):
    with pytest.raises(ConfigError, match=rf"^deter={value} is wrong; the nearest {near}\.$"):
        check_multiple(f"deter={value} is wrong", value, 8)


def test_a_multiple_is_taken():
    check_multiple("16 is wrong", 16, 8)
