"""An ablation is the method with one entry taken out."""

import pytest

from mrcom.agents.method import without
from mrcom.agents.mrcom import MRCOM
from mrcom.core.errors import ConfigError


@pytest.mark.parametrize("part", ["deter", "context"])
def test_taking_out_a_part_leaves_the_losses_alone(part):
    ablation = without(MRCOM, part)
    assert set(MRCOM.parts) - set(ablation.parts) == {part}
    assert ablation.terms == MRCOM.terms


@pytest.mark.parametrize("term", ["meta_state", "meta_value"])
def test_taking_out_a_term_leaves_the_parts_and_the_other_weights_alone(term):
    ablation = without(MRCOM, term)
    assert ablation.parts == MRCOM.parts
    assert ablation.terms == {k: v for k, v in MRCOM.terms.items() if k != term}


def test_the_ablation_says_in_its_name_what_is_missing():
    assert without(MRCOM, "meta_value").name == "MrCoM w/o meta_value"


def test_taking_out_what_is_not_there_is_refused_and_names_it():
    with pytest.raises(ConfigError, match="meta_values"):
        without(MRCOM, "meta_values")
