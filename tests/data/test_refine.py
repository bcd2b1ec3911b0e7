"""The refined data set beside the source: rows, weights, reviews, folds, and scores that a killed run leaves.

pytest tests/data/test_refine.py
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from stargan_ray.data.folds import fold_of
from stargan_ray.data.overrule import Ruling, overrule
from stargan_ray.data.policies import Decisions, decide
from stargan_ray.data.policy import Policy
from stargan_ray.data.pools import Pixels
from stargan_ray.data.refine import Tally, tally, warnings
from stargan_ray.data.review_outcomes import Outcome
from stargan_ray.data.reviews import Session
from stargan_ray.data.schema import EXPRESSIONS, Row
from stargan_ray.data.shards import Dataset, open_dataset
from stargan_ray.data.units import Source
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError
from stargan_ray.runtime.panel import Panel, open_panel
from stargan_ray.runtime.refine import refine, report
from stargan_ray.runtime.score_store import Blocks, score_dataset
from stargan_ray.runtime.scoring import Score, Scorer, Scores, network_score

SEVEN = EXPRESSIONS[:7]  # FER2013's: no contempt


# -- the counts -------------------------------------------------------------------------------------------


def alike(labels: list[str | None], guesses: list[str]) -> tuple[Tally, ...]:
    """Tallies of sure guesses under the default policy."""
    table = np.full((len(guesses), 7), 0.1 / 6, np.float32)
    table[np.arange(len(guesses)), [SEVEN.index(name) for name in guesses]] = 0.9
    return tally(labels, overrule(labels, decide(labels, table, SEVEN, Policy()), {}), EXPRESSIONS)


def test_every_row_is_counted_once_before_and_under_its_reason() -> None:
    labels = ["contempt", "contempt", "anger", "anger", None]
    found = {each.domain: each for each in alike(labels, ["anger", "fear", "anger", "fear", "fear"])}
    assert (found["contempt"].before, found["contempt"].after) == (2, 2)
    assert found["contempt"].reasons == {"class unknown to the classifier": 2}
    assert found["anger"] == Tally("anger", 2, 1, {"kept": 1, "label disagrees": 1})
    assert found["(none)"] == Tally("(none)", 1, 0, {"no label": 1})
    assert all(sum(each.reasons.values()) == each.before for each in found.values())


def test_ruined_domains_are_warned_of_and_empty_ones_are_not() -> None:
    labels = ["anger"] * 100 + ["fear"] * 60 + ["sadness"] * 100
    guesses = ["fear"] * 81 + ["anger"] * 19 + ["fear"] * 40 + ["anger"] * 20 + ["sadness"] * 100
    told = warnings(alike(labels, guesses), Policy())
    assert told == ("fear is left with 40 rows of 60", "anger loses 81% of its rows (100 to 19)")


# -- a data set ---------------------------------------------------------------------------------------------
# Flat grey pictures, whose level is the expression that they show: 0, 30, 60, …, 210.


def picture(level: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (level, level, level)).save(buffer, "PNG")
    return buffer.getvalue()


@dataclass(frozen=True)
class Greys:
    """Sixteen rows: each expression twice, the second time under the next one's label; one without a label."""

    number: int

    @property
    def fingerprint(self) -> str:
        return f"greys {self.number}"

    def produce(self) -> Iterator[Row]:
        for k in range(8):
            for wrong in (0, 1):
                label = None if (k, wrong) == (1, 1) else (k + wrong) % 8
                split = "val" if k == 5 else "train"
                yield Row(f"{self.number}-{k}-{wrong}", picture(30 * k), label, f"p{k}", split, "greys")


def grey_score(calls: Path | None) -> Score:
    """A perfect reader of the pictures that has never heard of contempt; leaves a line for each image."""

    def score(images: Pixels) -> Scores:
        if calls is not None:
            with calls.open("a") as log:
                log.write(len(images) * "x")
        shown = images[:, 0, 0, 0] // 30
        table = np.full((len(images), 7), 0.01, np.float32)
        table[np.arange(len(images)), np.minimum(shown, 6)] = 0.94
        return table

    return score


@pytest.fixture
def greys(tmp_path: Path) -> str:
    uri = str(tmp_path / "greys")
    write_dataset(uri, Source({"reader": "greys"}, EXPRESSIONS, (Greys(0), Greys(1))))
    return uri


@pytest.fixture
def scorer(tmp_path: Path) -> Scorer:
    return Scorer(SEVEN, 8, "greys 1.0", partial(grey_score, tmp_path / "calls"))


def rows_of(dataset: Dataset) -> dict[str, tuple[object, ...]]:
    index = dataset.index.select(["key", "expression", "identity", "split", "source", "content_hash"]).to_pylist()
    images = dataset.images(np.arange(len(dataset)))
    return {row["key"]: (*row.values(), image) for row, image in zip(index, images, strict=True)}


def test_refined_rows_are_the_confirmed_rows_unchanged_and_the_source_stays(
    greys: str, scorer: Scorer, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in Path(greys).rglob("*") if path.is_file()}
    done = refine(greys, str(tmp_path / "refined"), Panel((scorer,)), Policy())
    source, result = rows_of(open_dataset(greys)), rows_of(open_dataset(str(tmp_path / "refined")))
    # right labels, and both rows labelled contempt: the true one and the anger that is called so
    expected = {f"{n}-{k}-0" for n in (0, 1) for k in range(8)} | {"0-6-1", "1-6-1"}
    assert set(result) == expected
    assert all(source[key] == result[key] for key in result)
    assert {path: path.read_bytes() for path in Path(greys).rglob("*") if path.is_file()} == before
    assert done.manifest.skipped == {"label disagrees": 12, "no label": 2}
    assert done.manifest.source["content_hash"] == open_dataset(greys).manifest.content_hash
    assert len(done.warnings) == 8  # eight tiny domains


@pytest.mark.parametrize("together", [3, 1 << 14])
def test_every_row_and_its_reason_is_in_the_table(
    greys: str, scorer: Scorer, tmp_path: Path, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stargan_ray.data.refine.GROUP_ROWS", together)
    done = refine(greys, str(tmp_path / "refined"), Panel((scorer,)), Policy(unknown_class="drop"))
    table = pq.read_table(done.decisions)
    assert table.column_names[:4] == ["key", "label", "predicted", "confidence"]
    assert table.column_names[4:] == [f"p_{name}" for name in SEVEN] + [
        "kept",
        "weight",
        "reason",
        "filter_kept",
        "filter_reason",
        "new_label",
    ]
    rows = {row["key"]: row for row in table.to_pylist()}
    assert set(rows) == set(rows_of(open_dataset(greys)))
    assert rows["0-2-1"]["reason"] == "label disagrees"
    assert (rows["0-2-1"]["label"], rows["0-2-1"]["predicted"]) == ("surprise", "sadness")
    assert {r["reason"] for r in rows.values() if r["label"] == "contempt"} == {"class unknown to the classifier"}
    assert {key for key, row in rows.items() if row["kept"]} == set(rows_of(open_dataset(str(tmp_path / "refined"))))


def test_each_row_is_scored_once_and_not_again_for_another_policy(greys: str, scorer: Scorer, tmp_path: Path) -> None:
    out, calls = str(tmp_path / "refined"), tmp_path / "calls"
    first = refine(greys, out, Panel((scorer,)), Policy())
    assert len(calls.read_text()) == 32
    assert refine(greys, out, Panel((scorer,)), Policy()).manifest == first.manifest
    with pytest.raises(InputError, match=r"another data set.*--overwrite"):
        refine(greys, out, Panel((scorer,)), Policy(threshold=0.95))
    assert refine(greys, out, Panel((scorer,)), Policy(unlabelled="keep"), overwrite=True).manifest.rows == 20
    assert len(calls.read_text()) == 32


def test_a_damaged_image_is_counted_and_the_rest_goes_on(
    greys: str, scorer: Scorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Dataset.images
    monkeypatch.setattr(Dataset, "images", lambda *a: [b"no image", *whole(*a)[1:]])
    done = refine(greys, str(tmp_path / "refined"), Panel((scorer,)), Policy())
    assert done.manifest.skipped["unreadable"] == 1
    assert np.isnan(score_dataset(Blocks(open_dataset(greys), scorer, str(tmp_path / "again")))[0]).all()


def test_the_source_is_never_its_own_result(greys: str, scorer: Scorer) -> None:
    with pytest.raises(InputError, match="is the source itself"):
        refine(greys, greys, Panel((scorer,)), Policy())


def test_nothing_left_is_an_error_of_one_line(greys: str, scorer: Scorer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"keeps no row.*low confidence.*lower policy.threshold"):
        refine(greys, str(tmp_path / "refined"), Panel((scorer,)), Policy(threshold=1.0, unknown_class="drop"))


def test_the_printed_table_names_every_domain(greys: str, scorer: Scorer, tmp_path: Path) -> None:
    shown = report(refine(greys, str(tmp_path / "refined"), Panel((scorer,)), Policy()))
    assert list(shown.columns[0].cells) == [*EXPRESSIONS, "(none)", "all"]
    assert json.loads((tmp_path / "refined" / "manifest.json").read_text())["source"]["reader"] == "refine"


def test_a_network_scores_an_image_and_its_mirror_image_alike() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 3)).eval()
    score = network_score(network, torch.device("cpu"))
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 8, 8), np.uint8)
    found = score(images)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(found, score(np.ascontiguousarray(images[..., ::-1])), rtol=1e-5)


# -- blocks of scores ----------------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for the end of the process between two blocks."""


def dying_score(calls: Path, after: int) -> Score:
    """Scores, until ``after`` images are done."""
    score = grey_score(calls)

    def dying(images: Pixels) -> Scores:
        if calls.exists() and len(calls.read_text()) >= after:
            raise Killed
        return score(images)

    return dying


def test_what_a_killed_run_has_scored_is_not_scored_again(greys: str, scorer: Scorer, tmp_path: Path) -> None:
    calls, out = tmp_path / "calls", str(tmp_path / "refined")
    dying = replace(scorer, make=partial(dying_score, calls, 18))
    with pytest.raises(Killed):
        refine(greys, out, Panel((dying,)), Policy(), block=6)
    assert len(calls.read_text()) == 18
    told: list[tuple[int, int]] = []
    done = refine(greys, out, Panel((scorer,)), Policy(), block=6, on_scored=lambda *each: told.append(each))
    assert len(calls.read_text()) == 32  # 14 more, not 32
    assert told == [(18, 32), (6, 32), (6, 32), (2, 32)]
    whole = refine(greys, str(tmp_path / "whole"), Panel((scorer,)), Policy())
    assert pq.read_table(done.decisions).equals(pq.read_table(whole.decisions))
    assert done.manifest.content_hash == whole.manifest.content_hash
    assert not (tmp_path / "refined" / "scores").exists()


def test_a_damaged_block_and_those_of_another_classifier_are_not_taken(
    greys: str, scorer: Scorer, tmp_path: Path
) -> None:
    blocks = Blocks(open_dataset(greys), scorer, str(tmp_path / "scores"), size=10)
    scores = score_dataset(blocks)
    stored = sorted(Path(blocks.uri).iterdir())
    assert len(stored) == 4
    stored[1].write_bytes(stored[1].read_bytes()[:-20])
    stored[2].unlink()
    np.testing.assert_array_equal(score_dataset(blocks), scores)
    assert len((tmp_path / "calls").read_text()) == 32 + 20
    other = Blocks(blocks.dataset, replace(scorer, name="greys 1.1"), blocks.folder, size=10)
    score_dataset(other)
    assert len((tmp_path / "calls").read_text()) == 32 + 20 + 32
    with pytest.raises(InputError, match="--block 0"):
        Blocks(blocks.dataset, scorer, blocks.folder, size=0)


@pytest.fixture
def by_value() -> Iterator[None]:
    """Workers of Ray cannot import a test: what is defined here travels to them whole."""
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    ray.shutdown()


def killing_score(calls: Path, victims: Path) -> Score:
    """Kills the first process that has scored ten images, as the system does when memory is out."""
    score = grey_score(calls)

    def killing(images: Pixels) -> Scores:
        with contextlib.suppress(FileExistsError):
            if calls.exists() and len(calls.read_text()) >= 10:
                with victims.open("x") as file:
                    file.write(str(os.getpid()))
                os.kill(os.getpid(), signal.SIGKILL)
        return score(images)

    return killing


def test_a_pool_of_ray_scores_as_one_process_does_although_a_worker_is_killed(
    greys: str, scorer: Scorer, tmp_path: Path, by_value: None
) -> None:
    alone = score_dataset(Blocks(open_dataset(greys), scorer, str(tmp_path / "alone"), size=5))
    calls, victims = tmp_path / "pool-calls", tmp_path / "victims"
    killing = replace(scorer, make=partial(killing_score, calls, victims))
    pool = Blocks(open_dataset(greys), killing, str(tmp_path / "pool"), size=5)
    np.testing.assert_array_equal(score_dataset(pool, parallel=2), alone)
    assert victims.read_text()
    assert len(calls.read_text()) == 32  # stored blocks were not scored again
    missing = Blocks(open_dataset(greys), scorer, str(tmp_path / "missing"), size=5)
    with pytest.raises(InputError, match=r"--parallel 999.*CPUs"):
        score_dataset(missing, parallel=999)


# -- weights, other policies, people's verdicts, folds ---------------------------------------------------------


def test_another_policy_takes_the_scores_of_a_refined_data_set(greys: str, scorer: Scorer, tmp_path: Path) -> None:
    panel, first, second = Panel((scorer,)), str(tmp_path / "first"), str(tmp_path / "second")
    refine(greys, first, panel, Policy())
    done = refine(greys, second, panel, Policy(rule="soft", threshold=0.0), scores_of=first)
    assert len((tmp_path / "calls").read_text()) == 32
    weights = {row["key"]: row["weight"] for row in open_dataset(second).index.to_pylist()}
    assert weights["0-2-0"] == 1
    assert weights["0-2-1"] == pytest.approx(0.01 / 0.94)  # the label says surprise, the classifier sadness
    assert done.manifest.rows == 30
    other = Panel((replace(scorer, name="greys 1.1"),))
    with pytest.raises(InputError, match=r"--scores .*first: .* has no scores of .*greys by greys 1\.1"):
        refine(greys, str(tmp_path / "third"), other, Policy(), scores_of=first)


def test_weights_make_another_data_set_and_the_same_ones_the_same(greys: str, scorer: Scorer, tmp_path: Path) -> None:
    def content(name: str, threshold: float) -> str:
        policy = Policy(rule="soft", threshold=threshold)
        return refine(greys, str(tmp_path / name), Panel((scorer,)), policy).manifest.content_hash

    assert content("first", 0.0) == content("again", 0.001)  # other words for the same rows and weights
    paper = refine(greys, str(tmp_path / "paper"), Panel((scorer,)), Policy()).manifest
    assert content("strict", 1.0) == paper.content_hash  # all weights 1: a data set without weights


def said(greys: str, reviewer: str, *verdicts: tuple[str, str, str | None]) -> None:
    """A reviewer's verdicts on rows as they are."""
    index = {row["key"]: row for row in open_dataset(greys).index.to_pylist()}
    session = Session(greys, reviewer)
    for key, action, new in verdicts:
        number = index[key]["expression"]
        label = None if number is None else EXPRESSIONS[number]
        session.judge(key, index[key]["content_hash"], label, action, new)  # type: ignore[arg-type]


def test_a_person_has_the_last_word(greys: str, scorer: Scorer, tmp_path: Path) -> None:
    panel, out = Panel((scorer,)), str(tmp_path / "refined")
    before = refine(greys, out, panel, Policy())
    said(
        greys,
        "ada",
        ("0-2-1", "keep", None),  # the filter dropped it: sadness labelled surprise
        ("0-3-0", "drop", None),  # the filter kept it
        ("0-4-1", "relabel", "fear"),  # the filter dropped it: fear labelled disgust
        ("0-1-1", "relabel", "happiness"),  # it had no label
    )
    with pytest.raises(InputError, match="another data set"):
        refine(greys, out, panel, Policy())  # the verdicts are part of what it is
    done = refine(greys, out, panel, Policy(), overwrite=True)
    rows = rows_of(open_dataset(out))
    assert "0-2-1" in rows
    assert "0-3-0" not in rows
    assert rows["0-4-1"][1] == EXPRESSIONS.index("fear")
    assert rows["0-1-1"][1] == EXPRESSIONS.index("happiness")
    assert done.manifest.rows == before.manifest.rows + 2
    table = {row["key"]: row for row in pq.read_table(done.decisions).to_pylist()}
    assert [table[key]["reason"] for key in ("0-2-1", "0-3-0", "0-4-1")] == [
        "kept by a person",
        "dropped by a person",
        "relabelled by a person",
    ]
    assert [table[key]["filter_kept"] for key in ("0-2-1", "0-3-0", "0-4-1")] == [False, True, False]
    assert [table[key]["filter_reason"] for key in ("0-2-1", "0-3-0", "0-4-1")] == [
        "label disagrees",
        "kept",
        "label disagrees",
    ]
    assert [table[key]["new_label"] for key in ("0-2-1", "0-4-1", "0-1-1")] == [None, "fear", "happiness"]
    fear = next(each for each in done.tallies if each.domain == "fear")
    assert (fear.before, fear.after) == (4, 3)
    assert len((tmp_path / "calls").read_text()) == 32  # nothing was scored again


def test_disputed_and_unknown_verdicts_are_told_and_the_filter_decides(
    greys: str, scorer: Scorer, tmp_path: Path
) -> None:
    said(greys, "ada", ("0-2-1", "keep", None))
    said(greys, "grace", ("0-2-1", "drop", None))
    Session(greys, "ada").judge("gone", "0" * 64, "fear", "drop")
    Session(greys, "ada").judge("0-3-0", "0" * 64, "surprise", "drop")  # of another image
    done = refine(greys, str(tmp_path / "refined"), Panel((scorer,)), Policy())
    assert done.manifest.rows == 18
    assert done.warnings[:3] == (
        "1 rows have reviewers without a majority: the filter decided",
        "1 verdicts are on an image or a label that the row no longer has: ignored",
        "1 keys that people judged are not in the data set: ignored",
    )


def test_a_person_cannot_keep_what_no_program_can_read() -> None:
    lost = Decisions(np.array([False]), ("unreadable",), (None,), np.array([np.nan]), np.array([0.0]))
    assert overrule(["fear"], lost, {0: Outcome("keep")}) == Ruling(("fear",), ("unreadable",), lost.weight)


def fold_score(calls: Path, fold: int) -> Score:
    """Says contempt's neighbour, anger, of everything in a way that tells the fold: 0.5 + fold / 10."""

    def score(images: Pixels) -> Scores:
        with calls.open("a") as log:
            log.write(len(images) * str(fold))
        table = np.full((len(images), 7), (0.5 - fold / 10) / 6, np.float32)
        table[:, 6] = 0.5 + fold / 10
        return table

    return score


def fold_scorers(scorer: Scorer, calls: Path, folds: int = 3) -> list[Scorer]:
    return [
        replace(scorer, name=f"fold {fold}", make=partial(fold_score, calls, fold), folds=folds, fold=fold)
        for fold in range(folds)
    ]


def test_each_row_is_judged_by_the_classifier_of_its_fold(greys: str, scorer: Scorer, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    panel = Panel(tuple(fold_scorers(scorer, calls)), crossed=True)
    told: list[tuple[int, int]] = []
    done = refine(greys, str(tmp_path / "refined"), panel, Policy(), block=4, on_scored=lambda *each: told.append(each))
    dataset = open_dataset(greys)
    fold = fold_of(dataset.index["content_hash"].to_pylist(), 3)
    assert len(set(fold)) > 1
    confidence = pq.read_table(done.decisions)["confidence"].to_numpy()
    assert confidence == pytest.approx(0.5 + fold / 10)
    assert len(calls.read_text()) == 32 == sum(new for new, _ in told)
    assert done.manifest.source["classifier"] == "fold 0 | fold 1 | fold 2"


def test_a_classifier_that_learnt_the_labels_is_told_of(greys: str, scorer: Scorer, tmp_path: Path) -> None:
    learnt = replace(scorer, data_hash=open_dataset(greys).manifest.content_hash)
    done = refine(greys, str(tmp_path / "refined"), Panel((learnt,)), Policy())
    assert "trained on the labels that it judges" in done.warnings[0]
    crossed = tuple(replace(each, data_hash=learnt.data_hash) for each in fold_scorers(scorer, tmp_path / "calls"))
    assert not Panel(crossed, crossed=True).has_seen(open_dataset(greys))


def test_folds_that_do_not_make_a_whole_are_refused(
    scorer: Scorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {each.name: each for each in fold_scorers(scorer, tmp_path / "calls")} | {"whole": scorer}
    monkeypatch.setattr("stargan_ray.runtime.panel.model_scorer", known.__getitem__)
    panel = open_panel(["fold 2", "fold 0", "fold 1"])
    assert [each.fold for each in panel.scorers] == [0, 1, 2]
    assert not open_panel(["whole"]).crossed
    for names in (["fold 0"], ["fold 0", "fold 1"], ["fold 0", "fold 0", "fold 1"], ["whole", "fold 1", "fold 2"]):
        with pytest.raises(InputError, match="classifiers of different folds are needed, as many as there are folds"):
            open_panel(names)
    other = replace(known["fold 1"], classes=SEVEN[::-1])
    with pytest.raises(InputError, match="must know the same"):
        Panel((known["fold 0"], other), crossed=True)
