"""Filter, review, filter again: what people decided is applied, and the filter is still judged by its own decisions.

pytest tests/runtime/test_review_refine.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from forked import run_job
from tiny_models import TinyModels

from stargan_ray.data.faces import FacesConfig
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.review_sample import SampleConfig
from stargan_ray.data.reviews import Session
from stargan_ray.data.shards import open_dataset
from stargan_ray.data.writing import write_dataset
from stargan_ray.runtime.review import open_review, report
from stargan_ray.runtime.review_desk import Desk


def test_what_was_reviewed_is_applied_by_the_next_refine(tiny: TinyModels, tmp_path: Path) -> None:
    data, refined = str(tmp_path / "faces"), str(tmp_path / "refined")
    write_dataset(data, read_faces(FacesConfig(people=6, images_per_person=8, size=32, label_noise=0.3)))
    flags = ("--data", data, "--classifier", str(tiny.expression), "--out", refined)
    first = run_job("refine", *flags)
    assert first.returncode == 0, first.stderr

    review = open_review(refined, SampleConfig(per_class=4))
    desk = Desk(review.refined, review.sample, Session(data, "ann"))
    fates = review.refined.decisions["kept"].take(review.sample.rows).to_pylist()
    places = [fates.index(False), fates.index(True)]  # people say the opposite of the filter
    places.append(next(place for place in range(len(desk)) if place not in places))
    keys = [desk.card(place)["key"] for place in places]
    new = next(name for name in ("fear", "anger") if name != desk.card(places[2])["label"])
    desk.judge(places[0], keys[0], "keep")
    desk.judge(places[1], keys[1], "drop")
    desk.judge(places[2], keys[2], "relabel", new)
    before = report(review)

    again = run_job("refine", *flags, "--overwrite")
    assert again.returncode == 0, again.stderr
    rows = {row["key"]: row for row in pq.read_table(f"{refined}/decisions.parquet").to_pylist()}
    assert [rows[key]["kept"] for key in keys] == [True, False, True]
    assert [rows[key]["reason"].endswith("by a person") for key in keys] == [True] * 3
    result = open_dataset(refined)
    kept = dict(zip(result.index["key"].to_pylist(), result.index["expression"].to_pylist(), strict=True))
    assert keys[0] in kept
    assert keys[1] not in kept
    assert result.manifest.domains[kept[keys[2]]] == new

    # The same sample, the same verdicts, the same figures: what people did is no merit of the filter.
    after = open_review(refined, SampleConfig(per_class=4))
    assert after.sample.strata == review.sample.strata
    np.testing.assert_array_equal(after.sample.rows, review.sample.rows)
    assert repr(report(after)) == repr(before)
    assert Desk(after.refined, after.sample, Session(data, "ann")).summary()["judged"] == 3
