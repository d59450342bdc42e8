import dataclasses
import json

import pytest
from invented import LEVELS, invented_scores

from mrcom.evaluate.open_loop import OpenLoopErrors
from mrcom.report.claims import Claim, claims_text, open_loop_claims, summary, target_claims
from mrcom.report.tables import target_table


def errors(mse, last=(1.0, 1.0)):
    return {"cheetah": OpenLoopErrors((1, 10), mse, last)}


@pytest.mark.parametrize(
    ("mse", "everywhere", "at_10"),
    [
        ((0.9, 0.35), True, True),
        ((0.9, 0.37), True, False),  # RMSE 0.608
        ((1.0, 0.1), False, True),  # as good as the last observation is not better
    ],
)
def test_the_model_must_be_better_everywhere_and_by_enough_at_ten(mse, everywhere, at_10):
    assert [claim.holds for claim in open_loop_claims(errors(mse))] == [everywhere, at_10]


def test_a_body_without_a_threshold_only_has_to_be_better():
    (claim,) = open_loop_claims({"mine": OpenLoopErrors((1, 10), (0.1, 0.1), (1.0, 1.0))})
    assert claim.holds and claim.name.startswith("mine")


def test_claims_say_their_budget_where_it_is_known():
    known = {body: dataclasses.replace(e, budget="debug") for body, e in errors((1.0, 1.0)).items()}
    claims = open_loop_claims(known)
    assert claims and all("budget debug" in claim.needed for claim in claims)
    assert not any("budget" in claim.needed for claim in open_loop_claims(errors((1.0, 1.0))))
    claims = target_claims(invented_scores())
    assert claims and all("budget tiny" in claim.needed for claim in claims)


def holding(**levels):
    return {c.name: c.holds for c in target_claims(invented_scores(levels=LEVELS | levels))}


def test_a_good_run_is_above_random_everywhere_and_above_scratch_on_cheetah():
    claims = holding()
    assert len(claims) == 8 and all(claims.values())
    assert sum("beats SAC" in name for name in claims) == 2


def test_overlapping_intervals_are_not_above():
    claims = holding(adapted=55.0, sac=0.0)
    assert not any(holds for name, holds in claims.items() if "random" in name)


def test_equal_to_scratch_is_not_above_it():
    claims = holding(sac=450.0)
    assert not any(holds for name, holds in claims.items() if "beats SAC" in name)
    assert all(holds for name, holds in claims.items() if "random" in name)


def test_without_the_adapted_policy_nothing_is_claimed():
    scores = [s for s in invented_scores() if s.method != "adapted"]
    assert target_claims(scores) == [] and "no claims" in claims_text([])
    assert target_claims(invented_scores(episodes=1)) == []


def test_claims_and_tables_show_the_same_intervals():
    scores = invented_scores()
    claim, row = target_claims(scores)[0], target_table(scores).groups[0][3]
    assert row[3].startswith(f"{claim.value:.1f} to ")
    assert target_table(scores).groups[0][0][3].endswith(claim.needed.split()[1])


def test_the_text_says_plainly_what_holds():
    claims = [Claim("a", True, 1.0, "> 0"), Claim("b", False, -1.0, "> 0")]
    assert claims_text(claims) == (
        "HOLDS          a: 1, needed > 0\n"
        "DOES NOT HOLD  b: -1, needed > 0\n"
        "1 of 2 claims hold in this run.\n"
    )


def test_the_summary_is_json_with_the_four_fields():
    value = json.loads(
        json.dumps(summary([Claim("a", False, float("inf"), "< 1")]), allow_nan=False)
    )
    assert value == {"claims": [{"name": "a", "holds": False, "value": None, "needed": "< 1"}]}
