"""Every planted fault is found, by its key, and nothing else is reported; figures against written-out ones.

pytest tests/data/test_inspection.py
"""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from planted import DOMAINS, damage, encoded, noise, row, sound, write

from stargan_ray.data.duplicates import find_copies
from stargan_ray.data.image_facts import CHANGED, LOST, NEAR_BLACK, NEAR_EMPTY, measure, pieces
from stargan_ray.data.inspection import findings, pairs
from stargan_ray.data.schema import ROW_GROUP, Row, Skipped
from stargan_ray.data.shards import Dataset, open_dataset
from stargan_ray.data.verdict import judge


def facts_of(dataset: Dataset) -> Any:
    return measure(dataset, np.arange(len(dataset)))


def inspected(folder: Path) -> dict[str, Any]:
    dataset = open_dataset(str(folder))
    found = findings(dataset, facts_of(dataset))
    verdict = judge(found)
    json.dumps(found, allow_nan=False)
    return {**found, "problems": list(verdict.problems), "worth": list(verdict.worth_a_look)}


def keys(rows: list[dict[str, Any]]) -> list[str]:
    return [each["key"] for each in rows]


LISTS: dict[str, Callable[[dict[str, Any]], list[Any]]] = {
    "near_black": lambda found: keys(found["near_black"]["rows"]),
    "near_empty": lambda found: keys(found["near_empty"]["rows"]),
    "across": lambda found: [keys(group["rows"]) for group in found["copies"]["across_splits"]],
    "within": lambda found: [keys(group["rows"]) for group in found["copies"]["within_split"]],
    "expression": lambda found: [keys(group["rows"]) for group in found["conflicts"]["expression"]],
    "identity": lambda found: [keys(group["rows"]) for group in found["conflicts"]["identity"]],
    "unreadable": lambda found: [(each["key"], each["fault"]) for each in found["unreadable"]["rows"]],
    "people": lambda found: list(found["people"]["in_several_splits"].items()),
}
SAME = encoded(noise(1))
BLACK = encoded(noise(2, 0, 1))
DARK = encoded(Image.fromarray(np.arange(160, dtype=np.uint8).reshape(10, 16) % 2 * 18))  # 9 ± 9: dark, not flat
FLAT = encoded(noise(4, 127, 130))
PALE = encoded(noise(5, 250, 256))  # white paper is flat, not black

FAULTS: dict[str, tuple[list[Row], dict[str, list[Any]], list[str], list[str]]] = {
    "nothing": ([], {}, [], []),
    "black": (
        [row("x", BLACK)],
        {"near_black": ["x"], "near_empty": ["x"]},
        [],
        ["1 near-black image", "1 near-empty image"],
    ),
    "dark": ([row("x", DARK)], {"near_black": ["x"]}, [], ["1 near-black image"]),
    "flat": (
        [row("x", PALE), row("y", FLAT)],
        {"near_empty": ["y", "x"]},
        [],
        ["2 near-empty images"],
    ),
    "copy in train": (
        [row("x", SAME), row("y", SAME)],
        {"within": [["x", "y"]]},
        [],
        ["1 image several times in one split (2 rows)"],
    ),
    "copy in val": (
        [row("x", SAME), row("y", SAME, split="val")],
        {"across": [["x", "y"]]},
        ["1 image in more than one split: judges would see what training has seen"],
        [],
    ),
    "copy in val with another label": (
        [row("x", SAME, expression=0), row("z", SAME, expression=1), row("y", SAME, split="val", expression=None)],
        {"across": [["x", "z", "y"]], "expression": [["x", "z", "y"]]},
        [
            "1 image in more than one split: judges would see what training has seen",
            "1 image under different expressions: at most one is right",
        ],
        [],
    ),
    "copy without a label": (
        [row("x", SAME, identity="train-person-1"), row("y", SAME, expression=None)],
        {"within": [["x", "y"]]},
        [],
        ["1 image several times in one split (2 rows)"],
    ),
    "copy of another person": (
        [row("x", SAME, identity="train-person-1"), row("y", SAME, identity="train-person-2")],
        {"within": [["x", "y"]], "identity": [["x", "y"]]},
        ["1 image under the names of different people"],
        ["1 image several times in one split (2 rows)"],
    ),
    "person in two splits": (
        [row("x", identity="val-person-0"), row("y", identity="val-person-0")],
        {"people": [("val-person-0", {"train": 2, "val": 4})]},
        [],
        ["1 person in more than one split: a judge of unseen people has seen them"],
    ),
    "no images": (
        [row("x", b"no image"), row("y", SAME[:-30]), row("z", b"")],
        {"unreadable": [("x", "not an image"), ("y", "unreadable"), ("z", "empty")]},
        ["3 rows that cannot be read (1 empty, 1 not an image, 1 unreadable): ingest the data again"],
        [],
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_and_nothing_else(fault: str, tmp_path: Path) -> None:
    planted, expected, problems, worth = FAULTS[fault]
    write(tmp_path, [*sound(), *planted])
    found = inspected(tmp_path)
    assert {name: of(found) for name, of in LISTS.items()} == {name: [] for name in LISTS} | expected
    assert (found["problems"], found["worth"]) == (problems, worth)


def test_bytes_that_changed_after_ingest_are_found_also_where_they_decode(tmp_path: Path) -> None:
    write(tmp_path, sound())
    damage(tmp_path, "train/070.png", encoded(noise(1)))
    damage(tmp_path, "val/003.png", b"\0" * 50)
    found = inspected(tmp_path)
    expected = {"unreadable": [("train/070.png", CHANGED), ("val/003.png", CHANGED)]}
    assert {name: of(found) for name, of in LISTS.items()} == {name: [] for name in LISTS} | expected
    assert found["problems"] == ["2 rows that cannot be read (2 changed since ingest): ingest the data again"]
    assert found["images"]["decoded"] == found["data"]["rows"] - 2


@pytest.mark.parametrize("how", ["missing", "cut"])
def test_a_lost_shard_does_not_hide_the_others(how: str, tmp_path: Path) -> None:
    manifest = write(tmp_path, sound())
    lost = next(shard for shard in manifest.shards if shard.split == "val")
    path = tmp_path / lost.path
    path.unlink() if how == "missing" else path.write_bytes(path.read_bytes()[:-100])
    found = inspected(tmp_path)
    assert found["unreadable"]["by_reason"] == {LOST: lost.rows}
    assert {each["split"] for each in found["unreadable"]["rows"]} == {"val"}
    assert lost.path in found["unreadable"]["rows"][0]["detail"]
    assert found["images"]["decoded"] == manifest.rows - lost.rows


def test_modes_sizes_and_formats_are_those_of_the_files(tmp_path: Path) -> None:
    picture = noise(1, size=(20, 10))
    turned, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6  # lies on its side
    noise(2, size=(20, 10)).save(turned, "JPEG", exif=exif)
    deep = Image.fromarray(np.linspace(0, 65535, 200).reshape(10, 20).astype(np.uint16))
    planted = {
        "grey": encoded(picture.convert("L")),
        "cmyk": encoded(picture.convert("CMYK"), "JPEG"),
        "rgba": encoded(picture.convert("RGBA")),
        "palette": encoded(picture.quantize(16)),
        "sixteen bits": encoded(deep),
        "webp": encoded(picture, "WEBP"),
        "turned": turned.getvalue(),
    }
    write(tmp_path, [*sound(), *(row(key, image) for key, image in planted.items())])
    found = inspected(tmp_path)
    assert (found["problems"], found["worth"]) == ([], [])
    images = found["images"]
    assert images["modes"] == {"RGB": 194, "CMYK": 1, "I;16": 1, "L": 1, "P": 1, "RGBA": 1}
    assert images["formats"] == {"PNG": 196, "JPEG": 2, "WEBP": 1}
    assert images["sizes"] == [
        {"width": 12, "height": 16, "rows": 192},
        {"width": 20, "height": 10, "rows": 6},
        {"width": 10, "height": 20, "rows": 1},
    ]
    size = open_dataset(str(tmp_path)).manifest.image_bytes
    assert images["bytes"]["sum"] == size


def test_brightness_and_contrast_are_mean_and_deviation_of_luma(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))  # black below, but nothing of it is seen
    half = Image.new("RGB", (8, 8), (0, 0, 0))
    half.paste((255, 255, 255), (0, 0, 8, 4))
    picture = noise(7)
    write(tmp_path, [row("a", encoded(clear)), row("b", encoded(half)), row("c", encoded(picture))], DOMAINS)
    luma = np.asarray(picture.convert("L"), np.float64)
    facts = facts_of(open_dataset(str(tmp_path)))
    np.testing.assert_allclose(facts["brightness"].to_numpy(), [255, 127.5, luma.mean()], rtol=1e-12)
    np.testing.assert_allclose(facts["contrast"].to_numpy(), [0, 127.5, luma.std()], rtol=1e-12, atol=1e-12)


def test_an_image_at_the_limit_is_not_below_it(tmp_path: Path) -> None:
    at, below = (encoded(Image.new("L", (8, 8), level)) for level in (int(NEAR_BLACK), int(NEAR_BLACK) - 1))
    stripes = [Image.new("L", (8, 8), 100) for _ in range(2)]
    for image, step in zip(stripes, (int(NEAR_EMPTY), int(NEAR_EMPTY) - 1), strict=True):
        image.paste(100 + 2 * step, (0, 0, 8, 4))  # half of it two steps away: a deviation of one step
    rows = [row("at", at), row("below", below), row("striped", encoded(stripes[0])), row("faint", encoded(stripes[1]))]
    write(tmp_path, rows)
    found = inspected(tmp_path)
    assert keys(found["near_black"]["rows"]) == ["below"]
    assert sorted(keys(found["near_empty"]["rows"])) == ["at", "below", "faint"]


def test_domains_too_small_to_train_and_an_imbalance(tmp_path: Path) -> None:
    rows = [*(row(f"{n}", expression=0) for n in range(25)), *(row(f"g{n}", expression=1) for n in range(2))]
    write(tmp_path, [*rows, row("s", expression=2), Skipped("a", "empty")], (*DOMAINS, "sad", "angry"))
    found = inspected(tmp_path)
    assert found["problems"] == [
        "domain 'sad' has 1 image in train: a step takes 2 different references",
        "domain 'angry' has 0 images in train: a step takes 2 different references",
    ]
    assert found["worth"] == [
        "the largest domain of train has 25 times the images of the smallest",
        "1 file not taken over at ingest (1 empty)",
    ]
    assert found["counts"]["imbalance"] == 25


def test_a_set_without_labels_or_without_train_lacks_no_domain(tmp_path: Path) -> None:
    write(tmp_path / "a", [row(f"{n}", expression=None, identity="ann") for n in range(4)])
    found = inspected(tmp_path / "a")
    assert (found["problems"], found["worth"], found["pairs"]["total"]) == ([], [], 0)
    assert found["counts"]["rows"]["(none)"] == {"train": 4}
    write(tmp_path / "b", [row(f"{n}", split="test") for n in range(4)])
    found = inspected(tmp_path / "b")
    assert (found["problems"], found["worth"]) == ([], ["no row is in train: this set can judge, not train"])
    assert found["people"]["rows_without"] == 4
    assert found["people"]["images"] == {"min": None, "median": None, "max": None, "edges": [1, 2], "counts": [0]}


def test_images_of_a_person(tmp_path: Path) -> None:
    counts = {"ann": 1, "bob": 3, "cem": 3, "dora": 70}
    write(tmp_path, [row(f"{name}{n}", identity=name) for name, count in counts.items() for n in range(count)])
    images = inspected(tmp_path)["people"]["images"]
    assert (images["min"], images["median"], images["max"]) == (1, 3, 70)
    assert sum(images["counts"]) == 4
    low = np.array(images["edges"])
    for count in counts.values():
        assert images["counts"][np.searchsorted(low, count, side="right") - 1] > 0


def test_pairs_are_those_of_counting_them() -> None:
    for counts in itertools.product(range(4), repeat=3):
        images = dict(zip("abc", counts, strict=True))
        labels = [name for name, count in images.items() for _ in range(count)]
        listed = [(a, b) for a, b in itertools.permutations(labels, 2) if a != b]
        told = pairs(images)
        assert told["total"] == len(listed)
        assert told["by_target"] == {name: sum(b == name for _, b in listed) for name in images}
    assert pairs({"a": 10**12, "b": 10**12})["total"] == 2 * 10**24  # exact where a float is not


def test_the_paper_could_not_have_more_pairs_than_this() -> None:
    told = pairs({})
    assert told["paper_at_most"] == 337_101_086
    equal = {str(n): 19_628 // 8 + (n < 19_628 % 8) for n in range(8)}
    assert sum(equal.values()) == told["paper_images"]
    assert told["paper"] < pairs(equal)["total"] <= told["paper_at_most"]


def test_pieces_are_whole_row_groups_that_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, sound(300))
    dataset = open_dataset(str(tmp_path), cache_bytes=0)
    parts = pieces(dataset)
    assert len(parts) > 1
    np.testing.assert_array_equal(np.concatenate(parts), np.arange(len(dataset)))
    read: list[int] = []
    images = Dataset.images

    def counted(self: Dataset, rows: Any) -> list[bytes]:
        read.append(len(rows))
        return images(self, rows)

    monkeypatch.setattr(Dataset, "images", counted)
    cut = [line for part in parts for line in measure(dataset, part).to_pylist()]
    assert max(read) <= ROW_GROUP
    groups = {
        (s, r // ROW_GROUP) for s, r in zip(*(dataset.index[c].to_pylist() for c in ("shard", "row")), strict=True)
    }
    assert len(read) == len(groups)
    assert cut == facts_of(dataset).to_pylist()


def test_leaks_come_first_then_storage_order(tmp_path: Path) -> None:
    images = [encoded(noise(number)) for number in range(3)]
    rows = [row("a1", images[0]), row("a2", images[0]), row("b1", images[1]), row("b2", images[1], split="test")]
    write(tmp_path, [*rows, row("c1", images[2], split="val"), row("c2", images[2], split="test")])
    copies = find_copies(open_dataset(str(tmp_path)).index, DOMAINS)
    assert [[each.key for each in group.rows] for group in copies] == [["b1", "b2"], ["c1", "c2"], ["a1", "a2"]]
    assert [group.leak for group in copies] == [True, True, False]
