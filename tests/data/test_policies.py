"""The policies of the filter as pure decisions: the paper's, confident learning against cleanlab itself, weights.

pytest tests/data/test_policies.py
"""

from __future__ import annotations

import sys

import numpy as np
import numpy.typing as npt
import pytest
from cleanlab.filter import find_label_issues
from hypothesis import given, settings
from hypothesis import strategies as st

from stargan_ray.data import policies
from stargan_ray.data.policies import decide
from stargan_ray.data.policy import Policy, Rule
from stargan_ray.data.schema import EXPRESSIONS
from stargan_ray.errors import InputError

SEVEN = EXPRESSIONS[:7]  # FER2013's: no contempt
Scores = npt.NDArray[np.float32]


def sure(*names: str, confidence: float = 0.9) -> Scores:
    """Probabilities over SEVEN that put the confidence on the named classes."""
    table = np.full((len(names), 7), (1 - confidence) / 6, np.float32)
    table[np.arange(len(names)), [SEVEN.index(name) for name in names]] = confidence
    return table


def noisy(rows: int = 700, noise: float = 0.3, seed: int = 0) -> tuple[list[str | None], Scores, npt.NDArray[np.bool_]]:
    """Labels of which a share is wrong, probabilities of a fair classifier, and which labels are wrong."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 7, rows)
    wrong = rng.random(rows) < noise
    label = np.where(wrong, (true + rng.integers(1, 7, rows)) % 7, true)
    logits = rng.normal(0, 1, (rows, 7))
    logits[np.arange(rows), true] += 3
    scores = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return [SEVEN[k] for k in label], scores.astype(np.float32), wrong


def test_rows_stay_where_the_classifier_is_sure_of_their_own_label() -> None:
    scores = np.concatenate([sure("anger", "fear"), sure("anger", confidence=0.4)])
    found = decide(["anger", "anger", "anger"], scores, SEVEN, Policy(threshold=0.5))
    assert found.kept.tolist() == [True, False, False]
    assert found.weight.tolist() == [1, 0, 0]
    assert found.reason == ("kept", "label disagrees", "low confidence")
    assert found.predicted == ("anger", "fear", "anger")
    assert found.confidence == pytest.approx([0.9, 0.9, 0.4])


@pytest.mark.parametrize("rule", policies.RULES)
@pytest.mark.parametrize("choice", ["keep", "drop"])
def test_contempt_and_rows_without_a_label_follow_the_policy_and_are_counted(rule: str, choice: str) -> None:
    policy = Policy(rule=rule, unknown_class=choice, unlabelled=choice)  # type: ignore[arg-type]
    found = decide(["contempt", None, "anger", "fear"], sure("anger", "fear", "anger", "fear"), SEVEN, policy)
    assert found.kept.tolist() == [choice == "keep"] * 2 + [True, True]
    assert found.weight.tolist() == [float(choice == "keep")] * 2 + [1, 1]
    assert found.reason == ("class unknown to the classifier", "no label", "kept", "kept")


@pytest.mark.parametrize("rule", policies.RULES)
def test_an_unreadable_image_is_dropped_whatever_its_label(rule: str) -> None:
    nothing = np.full((3, 7), np.nan, np.float32)
    policy = Policy(rule=rule, unknown_class="keep", unlabelled="keep")  # type: ignore[arg-type]
    found = decide(["anger", "contempt", None], nothing, SEVEN, policy)
    assert not found.kept.any()
    assert set(found.reason) == {"unreadable"}
    assert found.predicted == (None, None, None)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_threshold_never_keeps_more(seed: int, first: float, second: float) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.dirichlet(np.full(7, 0.3), 20)
    labels = [None if k == 8 else EXPRESSIONS[k] for k in rng.integers(0, 9, 20)]
    low, high = sorted((first, second))
    for rule in policies.RULES:
        loose, strict = (decide(labels, scores, SEVEN, Policy(rule=rule, threshold=t)) for t in (low, high))
        assert (strict.weight <= loose.weight).all()
        assert ((strict.weight >= 0) & (strict.weight <= 1)).all()
        assert set(strict.reason) <= set(policies.REASONS)


@pytest.mark.parametrize("issues", ["prune_by_class", "prune_by_noise_rate", "both", "confident_learning"])
def test_confident_learning_drops_what_cleanlab_finds(issues: str) -> None:
    labels, scores, wrong = noisy()
    found = decide(labels, scores, SEVEN, Policy(rule="confident-learning", issues=issues))  # type: ignore[arg-type]
    numbers = np.array([SEVEN.index(str(label)) for label in labels])
    wide = scores.astype(np.float64)
    expected = find_label_issues(numbers, wide / wide.sum(1, keepdims=True), filter_by=issues, n_jobs=1)
    np.testing.assert_array_equal(found.kept, ~expected)
    assert set(np.array(found.reason)[expected]) == {"label unlikely"}
    assert wrong[~found.kept].mean() > 0.7
    assert wrong[found.kept].mean() < 0.1


def test_confident_learning_ignores_rows_that_it_cannot_judge_and_classes_without_rows() -> None:
    labels, scores, _ = noisy()
    labels = ["contempt" if label == "anger" else label for label in labels]  # no row of anger is left
    scores[3] = np.nan
    found = decide(labels, scores, SEVEN, Policy(rule="confident-learning"))
    alone = [row for row, label in enumerate(labels) if label != "contempt" and row != 3]
    other = decide([labels[row] for row in alone], scores[alone], SEVEN, Policy(rule="confident-learning"))
    np.testing.assert_array_equal(found.kept[alone], other.kept)
    assert found.reason[3] == "unreadable"


def test_confident_learning_finds_nothing_wrong_where_there_is_one_class() -> None:
    found = decide(["fear"] * 3, sure("fear", "anger", "fear"), SEVEN, Policy(rule="confident-learning"))
    assert found.kept.all()


def test_without_cleanlab_the_rule_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cleanlab.filter", None)
    with pytest.raises(InputError, match="pip install cleanlab"):
        decide(["anger", "fear"], sure("anger", "fear"), SEVEN, Policy(rule="confident-learning"))


def test_a_weight_is_how_likely_the_label_is_against_the_likeliest() -> None:
    scores = np.array([[0.6, 0.3, 0.1], [0.6, 0.3, 0.1], [0.6, 0.3, 0.1]], np.float32)
    found = decide(["a", "b", "c"], scores, ("a", "b", "c"), Policy(rule="soft", threshold=0.2))
    assert found.weight == pytest.approx([1, 0.5, 0])
    assert found.reason == ("kept", "kept", "label unlikely")


def test_weights_fall_on_the_wrong_labels() -> None:
    labels, scores, wrong = noisy()
    weight = decide(labels, scores, SEVEN, Policy(rule="soft", threshold=0.0)).weight
    assert (weight > 0).all()
    assert weight[wrong].mean() < 0.2 < 0.9 < weight[~wrong].mean()


def test_a_label_of_probability_zero_is_not_kept_with_a_weight_of_nothing() -> None:
    found = decide(["anger"], sure("fear", confidence=1.0), SEVEN, Policy(rule="soft", threshold=0.0))
    assert (found.kept[0], found.reason) == (False, ("label unlikely",))


@pytest.mark.parametrize(
    ("field", "value"),
    [("threshold", 1.5), ("unknown_class", "maybe"), ("unlabelled", ""), ("warn_lost", -1), ("warn_under", -1)],
)
def test_unusable_policies_are_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(InputError, match=rf"policy\.{field} = .*allowed"):
        Policy(**{field: value})  # type: ignore[arg-type]


def test_an_unknown_rule_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        InputError, match=r"policy\.rule 'sof': did you mean 'soft'\? allowed: confident-learning, paper"
    ):
        Policy(rule="sof")  # type: ignore[arg-type]


def test_probabilities_of_another_shape_are_refused() -> None:
    with pytest.raises(InputError, match=r"\(1, 7\).*2 rows"):
        decide(["anger", "fear"], sure("anger"), SEVEN, Policy())


def test_the_reasons_are_those_that_are_documented() -> None:
    assert policies.REASONS == (
        "kept",
        "label disagrees",
        "low confidence",
        "label unlikely",
        "class unknown to the classifier",
        "no label",
        "unreadable",
    )


@pytest.mark.parametrize("rule", ["paper", "soft"])
def test_rows_are_judged_alike_however_many_are_judged_together(rule: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    scores = rng.dirichlet(np.full(7, 0.4), 500).astype(np.float32)
    scores[rng.integers(0, 500, 20)] = np.nan
    labels = [None if n % 50 == 0 else "contempt" if n % 50 == 1 else SEVEN[n % 7] for n in range(500)]
    whole = decide(labels, scores, SEVEN, Policy(rule=rule))
    for together in (1, 7, 499, 500):
        monkeypatch.setattr(policies, "GROUP_ROWS", together)
        found = decide(labels, scores, SEVEN, Policy(rule=rule))
        assert (found.reason, found.predicted) == (whole.reason, whole.predicted)
        np.testing.assert_array_equal(found.weight, whole.weight)
        np.testing.assert_array_equal(found.confidence, whole.confidence)
    assert {*whole.reason} >= {"kept", "unreadable", "no label"}
