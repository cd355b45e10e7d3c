"""The rules: each cause has one, evidence decides, and without evidence they abstain."""

import re
from pathlib import Path

import pytest

from hae_jax.doctor.rules import RULES, judge, settled
from hae_jax.doctor.rules.errors import SETUP_RULES
from hae_jax.doctor.rules.markdown import page

ROOT = Path(__file__).parents[1]
SLUGS = {
    "forget-gate-closed", "exploding-recurrence", "unbounded-activation", "gates-saturated", "inputs-unscaled",
    "learning-rate-too-high", "learning-rate-too-low", "clip-too-tight", "loss-reduction", "padding-in-loss",
    "padding-in-encoder", "blank-sentences", "masked-nan", "code-unwired", "code-ignored", "codes-collapsed",
    "constant-output", "bottleneck-too-small", "sequence-too-long", "axes-swapped", "target-leak", "targets-scrambled",
    "exposure-gap", "softmax-twice", "dropout-wrong", "frozen-parameters", "state-swapped", "data-not-shuffled",
    "layer-norm-misuse", "over-regularised", "low-precision", "vocabulary-collapse", "targets-broadcast",
    "labels-out-of-range", "softmax-of-one", "softmax-axis", "weights-zero", "state-random", "log-of-zero",
    "probability-unbounded", "exponential-overflow", "loss-negated", "data-not-finite", "no-gradient", "layer-unused",
    "gradients-accumulated", "kl-dominates", "optimizer-state-lost", "ids-out-of-range",
    "log-missing", "gradient-ascent", "schedule-ended",
}  # fmt: skip

LONG = {"forget_least": 0.45, "slope_least": -0.33, "decades_least": -9.0, "loss_first": 4.0, "loss_last": 1.5,
        "saturated_most": 0.0, "twin_loss": 1.4, "last_code_permuted": 0.02, "last_code_loss": 1.5}  # fmt: skip
UNMIXED = {"mixed_share": 0.0, "norm_axes": []}
SQUARES = {"reduction_absolute": 350.0, "numbers_real": 400, "numbers_all": 400}
STUCK = {"clip_binding": 1.0, "clip_scale": 0.06, "loss_first": 4.0, "loss_last": 3.9, "update_ratio": 1e-3}
DEPENDENT = {
    "last_code_cosine": 0.95, "code_cosine": 0.95, "last_code_width": 32, "last_code_permuted": 0.001,
    "last_code_loss": 1.5, "reach_back": 0.01, "output_size": 2.0, "steps": 200, "nll_last": 1.5, "target_entropy": 3.0,
}  # fmt: skip
"""Evidence that faulty models and their healthy twins share."""


def bare(text: str) -> str:
    """The page without the tables of the benchmarks."""
    return re.sub(r"(<!-- table:\w+ -->).*?(<!-- end -->)", r"\1\2", text, flags=re.DOTALL)


def test_every_cause_has_one_rule_and_keeps_its_name():
    assert sorted(rule.cause for rule in RULES) == sorted(SLUGS)


def test_alternatives_of_rules_exist():
    assert {cause for rule in RULES for cause in rule.instead_of} <= set(SLUGS)


def test_without_evidence_nothing_is_found_and_all_abstain():
    findings, abstained = judge({})
    assert findings == []
    assert abstained == [rule.cause for rule in RULES]


def test_none_is_no_evidence():
    findings, abstained = judge({"clip_binding": None, "clip_scale": None})
    assert findings == []
    assert "clip-too-tight" in abstained


def test_the_root_is_reported_before_its_consequences():
    loss = {"reduction": 90.0, "tokens_real": 90, "tokens_all": 100}
    clip = {"clip_binding": 1.0, "clip_scale": 0.02}
    first, second = judge(loss | clip)[0]
    assert (first.cause, second.cause) == ("loss-reduction", "clip-too-tight")
    # The next finding is quoted with its own values, and no finding is excluded by another one's rule.
    assert first.instead_of[0]["cause"] == "clip-too-tight"
    assert "clip scale 0.02" in first.instead_of[0]["because"]
    assert "further from the root" in first.instead_of[0]["because"]
    for finding in (first, second):
        assert len({each["cause"] for each in finding.instead_of}) == len(finding.instead_of)
    assert "loss-reduction" not in {each["cause"] for each in second.instead_of}


def test_a_cosine_of_three_parameters_is_no_evidence_of_a_penalty():
    radial = {"broken_batches": 0, "decay_share": None, "gradient_radial": 0.95, "epsilon_exponent": None}
    assert [each.cause for each in judge(radial | {"parameters": 3000})[0]] == ["over-regularised"]
    assert judge(radial | {"parameters": 3})[0] == []


@pytest.mark.parametrize(
    ("cause", "faulty", "healthy"),
    [
        ("clip-too-tight", {"clip_binding": 1.0, "clip_scale": 0.01}, {"clip_binding": 1.0, "clip_scale": 0.5}),
        ("clip-too-tight", STUCK | {"steps": 200}, STUCK | {"steps": 20}),
        ("clip-too-tight", STUCK | {"update_ratio_last": 1e-3}, STUCK | {"update_ratio_last": 1.8e-3}),
        (
            "exposure-gap",
            {"accuracy": 0.7, "free_accuracy": 0.1, "free_agreement": 0.2},
            {"accuracy": 0.7, "free_accuracy": 0.1, "free_agreement": 0.9},
        ),
        ("exposure-gap", {"error_share": 0.54, "free_error": 2.5}, {"error_share": 0.31, "free_error": 1.05}),
        (
            "gates-saturated",
            {"driven_most": 0.7, "state_largest": 3.0},
            {"driven_most": 0.2, "state_largest": 3.0},
        ),
        (
            "gates-saturated",
            {"driven_most": 1.0, "state_largest": 1.0},
            {"driven_most": 0.0, "saturated_most": 1.0, "state_largest": 1.0},
        ),
        (
            "forget-gate-closed",
            {"forget_least": 0.1, "slope_least": -0.6, "decades_least": -3.0},
            {
                "forget_least": 0.05,
                "slope_least": -0.05,
                "decades_least": -0.1,
                "loss_first": 5.0,
                "loss_last": 4.9,
                "saturated_most": 1.0,
            },
        ),
        (
            "inputs-unscaled",
            {"input_read_sd": 50.0, "input_read_mean": 0.0},
            {"input_read_sd": 1.0, "input_read_mean": 0.0},
        ),
        ("data-not-shuffled", {"batches_seen": 9, "batch_likeness": 0.9}, {"batches_seen": 9, "batch_likeness": 0.05}),
        ("state-swapped", {"state_swapped": True}, {"state_swapped": False}),
        (
            "forget-gate-closed",
            {"forget_least": 0.05, "slope_least": 0.1, "decades_least": 0.6, "saturated_most": 0.5},
            {"forget_least": 0.05, "slope_least": 0.1, "decades_least": 0.6, "saturated_most": 1.0},
        ),
        (
            "forget-gate-closed",
            LONG | {"twin_gap": 0.3},
            LONG | {"twin_gap": 0.03},
        ),
        (
            "forget-gate-closed",
            LONG | {"twin_loss": 0.4},
            LONG,
        ),
        (
            "exploding-recurrence",
            {"slope_most": 0.3, "decades_most": 1.1, "saturated_most": 0.2},
            {"slope_most": 0.3, "decades_most": 1.1, "saturated_most": 0.01, "state_largest": 2.0},
        ),
        ("axes-swapped", UNMIXED | {"mixed_reach": 2.0}, UNMIXED | {"mixed_reach": 1.0}),
        (
            "vocabulary-collapse",
            {"commonest_share": 0.42, "second_share": 0.18, "distinct_words": 12},
            {"commonest_share": 0.42, "second_share": 0.18, "distinct_words": 5},
        ),
        ("loss-reduction", SQUARES | {"reduction": 400.0}, SQUARES | {"reduction": 1.0}),
        # The loss depends on codes of equal direction, though they hold no word; or it does not depend on them at all.
        (
            "codes-collapsed",
            DEPENDENT | {"last_code_zeroed": 0.3, "reach_back": 3e-7},
            DEPENDENT | {"last_code_zeroed": 0.3},
        ),
        ("code-ignored", DEPENDENT | {"last_code_zeroed": 0.001}, DEPENDENT | {"last_code_zeroed": 0.1}),
        (
            "masked-nan",
            {"broken_batches": 0.5, "broken_empty": 1.0, "broken_full": 0.0},
            {"broken_batches": 1.0, "broken_empty": None, "broken_full": 1.0},
        ),
    ],
)
def test_evidence_decides(cause, faulty, healthy):
    (finding,) = judge(faulty)[0]
    assert finding.cause == cause
    assert finding.evidence.items() <= faulty.items()
    assert finding.repair["change"]
    # A loss that is not finite is reported even if no rule explains it.
    assert {each.cause for each in judge(healthy)[0]} <= {"not-finite"}


def test_a_fault_of_the_program_needs_no_training_and_a_choice_does():
    assert settled(judge({"state_swapped": True})[0])
    assert settled(judge({"input_read_sd": 50.0, "input_read_mean": 0.0})[0])
    assert not settled(judge({"driven_most": 0.7, "state_largest": 3.0})[0])
    assert not settled(judge({"broken_batches": 1.0})[0])
    assert not settled([])


def test_the_page_of_causes_is_up_to_date():
    written = (ROOT / "docs" / "causes.md").read_text(encoding="utf-8")
    assert bare(written) == bare(page()), "run: python -m hae_jax.doctor.rules.markdown"


def test_findings_without_a_rule_are_on_the_page():
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "hae_jax" / "doctor").rglob("*.py"))
    reported = set(re.findall(r'(?:SetupError|failed|Finding)\(\s*"([a-z-]+)"', sources))
    assert len(reported) >= 4
    assert reported == {rule.cause for rule in SETUP_RULES}
    headings = re.findall("^### (.+)$", page(), re.MULTILINE)
    assert sorted(headings) == sorted([*(rule.cause for rule in RULES), *reported])
