"""FER+ as published: the majority of ten votes labels FER2013's images; ties, unknown and NF are counted.

pytest tests/data/readers/test_ferplus.py
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from test_fer2013 import line, table
from test_in_archives import KINDS, pack

from stargan_ray.data.manifest import Manifest
from stargan_ray.data.plan import Shape
from stargan_ray.data.readers.fer2013 import Fer2013Config, read_fer2013
from stargan_ray.data.readers.ferplus import FerplusConfig, read_ferplus
from stargan_ray.data.schema import EXPRESSIONS
from stargan_ray.data.shards import open_dataset
from stargan_ray.data.units import Source
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError
from stargan_ray.recipes import recipe_named
from stargan_ray.runtime import launch
from stargan_ray.runtime.evaluate import evaluate_classifier
from stargan_ray.runtime.run import Run
from stargan_ray.runtime.scoring import model_scorer

COLUMNS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")
HEADER = "Usage,Image name," + ",".join(COLUMNS) + "\n"
REASONS = {  # votes, in the order of COLUMNS -> why they label nothing
    "5,5,0,0,0,0,0,0,0,0": "tie of votes",
    "4,0,0,0,0,0,0,0,4,2": "tie of votes",
    "3,0,0,0,0,0,0,0,7,0": "majority for unknown",
    "3,0,0,0,0,0,0,0,0,7": "majority for not a face",
    "0,0,0,0,0,0,0,0,0,0": "no votes",
    "3,0,0,0,0,0,0,-1,0,0": "votes are no numbers",
    "9" * 5000 + ",0,0,0,0,0,0,0,0,0": "votes are no numbers",
    "3,0,0": "votes are no numbers",
}


def votes(for_column: int) -> str:
    return ",".join("4" if n == for_column else "3" if n in (8, 9) else "0" for n in range(10))


def tables(root: Path, extra: dict[str, str] = REASONS) -> Path:
    """28 images with a clear majority, column by column, and one for each line of ``extra``."""
    bad = "".join(line(n % 7, 900 + n) for n in range(len(extra) + 2))
    images = table(root / "fer2013.csv", bad + line(0, 990) + line(0, 991, "PublicTest"))
    usages = [each.rpartition(",")[2] for each in images.read_text().splitlines()[1:]]
    told = [f"fer{n:07d}.png,{votes(n % 8)}" for n in range(28)]
    told += [f"fer{28 + n:07d}.png,{each}" for n, each in enumerate(extra)]
    told += [f",{votes(0)}", f"ferx.png,{votes(0)}", f"fery.png,{votes(7)}", f"ferz.png,{votes(7)}"]
    usages[-3] = "PrivateTest"  # of another image, as when a table has lost a line
    lines = [f"{usage},{each}\n" for usage, each in zip(usages, told, strict=True)]
    (root / "fer2013new.csv").write_text(HEADER + "".join(lines))
    return root


def source(path: Path, **fields: object) -> Source:
    return read_ferplus(FerplusConfig(str(path), **fields), shard_rows=5)


def ingest(path: Path, out: Path, **fields: object) -> Manifest:
    return write_dataset(str(out), source(path, allow_missing=True, **fields))


def test_the_majority_is_the_label_and_the_rest_is_counted(tmp_path: Path) -> None:
    tables(tmp_path / "in")
    manifest = ingest(tmp_path / "in", tmp_path / "out")
    assert manifest.domains == EXPRESSIONS
    index = {row["key"]: row for row in open_dataset(str(tmp_path / "out")).index.to_pylist()}
    for n in range(28):
        assert EXPRESSIONS[index[f"row-{n:05d}"]["expression"]] == COLUMNS[n % 8]
    assert len(index) == 30
    skipped = {each["path"]: each["reason"] for each in pq.read_table(tmp_path / "out" / "skipped.parquet").to_pylist()}
    expected = {f"row-{28 + n:05d}": reason for n, reason in enumerate(REASONS.values())}
    expected["row-00036"] = "no image name, which means no face"
    expected["row-00037"] = "Usage differs between the tables"
    assert skipped == expected
    # The images and keys are those of FER2013.
    write_dataset(str(tmp_path / "fer"), read_fer2013(Fer2013Config(str(tmp_path / "in"))))
    fer = {row["key"]: row for row in open_dataset(str(tmp_path / "fer")).index.to_pylist()}
    for key, row in index.items():
        assert (row["content_hash"], row["split"]) == (fer[key]["content_hash"], fer[key]["split"])


def test_the_votes_are_found_beside_or_where_they_are_given(tmp_path: Path) -> None:
    root = tables(tmp_path / "in")
    expected = ingest(root, tmp_path / "1").content_hash
    assert ingest(root / "fer2013.csv", tmp_path / "2").content_hash == expected
    moved = (root / "fer2013new.csv").rename(tmp_path / "votes.csv")
    with pytest.raises(InputError, match=r"fer2013new.csv is not there: give the votes with --labels"):
        source(root)
    with pytest.raises(InputError, match=r"fer2013new.csv does not exist: give the votes with --labels"):
        source(root / "fer2013.csv")
    assert ingest(root, tmp_path / "3", labels=str(moved)).content_hash == expected


@pytest.mark.parametrize("kind", KINDS)
def test_both_tables_in_an_archive(tmp_path: Path, kind: str) -> None:
    root = tables(tmp_path / "in")
    archive = pack(root, tmp_path / f"a.{kind}", above="fer2013/")
    assert ingest(archive, tmp_path / "1").content_hash == ingest(root, tmp_path / "2").content_hash


def test_what_cannot_be_used_is_said_in_one_line(tmp_path: Path) -> None:
    root = tables(tmp_path / "in")
    path = root / "fer2013new.csv"
    text = path.read_text()
    path.write_text(text.replace("contempt", "contemt", 1))
    with pytest.raises(InputError, match=r"fer2013new.csv has no column 'contempt', is it 'contemt'\?"):
        source(root)
    path.write_text(text + f"Training,ferw.png,{votes(0)}\n")
    with pytest.raises(InputError, match="has 40 images, the votes are for 41: they belong line to line"):
        source(root)
    path.write_text(text)
    with pytest.raises(InputError, match="domain 'disgust' has no usable image in val"):
        write_dataset(str(tmp_path / "out"), source(root))


def test_changed_votes_are_another_source(tmp_path: Path) -> None:
    root = tables(tmp_path / "in")
    before = [unit.fingerprint for unit in source(root).units]
    path = root / "fer2013new.csv"
    path.write_text(path.read_text().replace(votes(0), votes(1), 1))
    after = [unit.fingerprint for unit in source(root).units]
    assert after[0] != before[0]
    assert after[1:] == before[1:]


def test_eight_expressions_go_from_the_votes_to_an_evaluated_classifier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The published recipe, contempt included, narrow and for three steps."""
    monkeypatch.chdir(tmp_path)  # where its records go
    tables(tmp_path / "in", {})
    train = ingest(tmp_path / "in", tmp_path / "out")
    recipe = recipe_named("expression")
    recipe = replace(
        recipe,
        method=replace(recipe.method, width=2),
        data=replace(recipe.data, shape=Shape(batch=16, lanes=4, window=4)),
        train=replace(recipe.train, steps=3, validate_every=0, threads=1),
    )
    run = Run(recipe, str(tmp_path / "out"), str(tmp_path / "runs"), "votes")
    assert launch.fit_here(run).finished
    report = evaluate_classifier(run.data, str(tmp_path / "page"), model_scorer(run.uri, "ten"), splits=("train",))
    assert report["classifier"]["classes"] == list(EXPRESSIONS)
    assert report["splits"]["train"]["rows"] == train.rows_by_split["train"]
    assert "contempt" in report["splits"]["train"]["by_class"]
    assert report["left_out"] == {}
