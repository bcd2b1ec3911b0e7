"""AffectNet as published, in every form that goes round: what is taken, what is counted, what is refused.

pytest tests/data/readers/test_affectnet.py
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from stargan_ray.data import storage
from stargan_ray.data.manifest import Manifest
from stargan_ray.data.readers.affectnet import AffectnetConfig, read_affectnet
from stargan_ray.data.schema import EXPRESSIONS
from stargan_ray.data.shards import open_dataset
from stargan_ray.data.units import Source
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError

HEADER = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"


def picture(seed: int, kind: str = "JPEG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def source(path: Path | str, shard_rows: int = 5, **fields: object) -> Source:
    return read_affectnet(AffectnetConfig(str(path), **fields), shard_rows)


def ingest(path: Path | str, out: Path, **fields: object) -> Manifest:
    return write_dataset(str(out), source(path, **fields))


def skipped(out: Path) -> dict[str, str]:
    return {each["path"]: each["reason"] for each in pq.read_table(out / "skipped.parquet").to_pylist()}


def rows(out: Path) -> dict[str, dict]:
    return {row["key"]: row for row in open_dataset(str(out)).index.to_pylist()}


def image(out: Path, key: str) -> bytes:
    data = open_dataset(str(out))
    return data.images(np.array([data.index.column("key").to_pylist().index(key)]))[0]


def official(root: Path, extra: tuple[str, ...] = (), header: bool = True) -> Path:
    """Two images of each expression in train, one in val, and the lines of ``extra``."""
    lines = {"training": [HEADER], "validation": [HEADER] if header else []}
    for code in range(8):
        for n, name in enumerate(("training", "training", "validation")):
            path = f"{n + 1}/{code:02d}abc{n}.jpg"
            put(root / "Manually_Annotated" / "Manually_Annotated_Images" / path, picture(10 * code + n))
            lines[name].append(f"{path},4,2,20,16,1.0;2.0;3.0,{code},0.1,-0.2")
    lines["training"] += extra
    for name, each in lines.items():
        put(root / "Manually_Annotated_file_lists" / f"{name}.csv", "\n".join(each).encode())
    return root


IMAGES = Path("Manually_Annotated/Manually_Annotated_Images")


def test_the_official_lists(tmp_path: Path) -> None:
    root = official(tmp_path / "in")
    manifest = ingest(root, tmp_path / "out")
    assert manifest.domains == EXPRESSIONS
    assert manifest.rows_by_domain == {"train": dict.fromkeys(EXPRESSIONS, 2), "val": dict.fromkeys(EXPRESSIONS, 1)}
    for key, row in rows(tmp_path / "out").items():
        assert row["expression"] == int(key.split("/")[1][:2])  # the official order is the project's
    assert image(tmp_path / "out", "1/03abc0.jpg") == (root / IMAGES / "1/03abc0.jpg").read_bytes()


def test_codes_that_are_no_expression_and_bad_lines_are_counted(tmp_path: Path) -> None:
    box = "4,2,20,16,1.0;2.0"
    cases = {
        f"1/none.jpg,{box},8,-2,-2": "no expression (none)",
        f"1/uncertain.jpg,{box},9,-2,-2": "no expression (uncertain)",
        "1/noface.jpg,NULL,NULL,NULL,NULL,NULL,10,-2,-2": "no face",
        f"1/eleven.jpg,{box},11,-2,-2": "label out of range",
        f"1/minus.jpg,{box},-1,-2,-2": "label out of range",
        f"1/word.jpg,{box},happy,-2,-2": "label out of range",
        "1/short.jpg,4,2": "label out of range",
        f"1/absent.jpg,{box},1,0,0": "missing",
        f"nowhere/absent.jpg,{box},1,0,0": "missing",
        f"../../secret.jpg,{box},1,0,0": "path leads out of the images",
        f"/etc/secret.jpg,{box},1,0,0": "path leads out of the images",
        f"1/00abc0.jpg,{box},1,0,0": "listed twice",
    }
    root = official(tmp_path / "in", (*cases, f",{box},1,0,0"))
    put(root / "secret.jpg", picture(0))
    manifest = ingest(root, tmp_path / "out")
    assert manifest.rows == 24
    expected = {line.split(",")[0]: reason for line, reason in cases.items()} | {"training.csv: line 30": "no path"}
    assert skipped(tmp_path / "out") == expected


def test_the_box_around_the_face_is_cut_out_without_loss(tmp_path: Path) -> None:
    over = "1/07abc0.png,-5,-5,100,100,1;2,7,0,0"  # reaches over every edge
    beside = "1/beside.png,400,2,10,10,1;2,0,0,0"
    flat = "1/flat.png,4,2,0,10,1;2,0,0,0"
    null = "1/null.png,NULL,NULL,NULL,NULL,1;2,0,0,0"
    root = official(tmp_path / "in", (over, beside, flat, null))
    for name in ("07abc0", "beside", "flat", "null"):
        put(root / IMAGES / f"1/{name}.png", picture(5, "PNG"))
    manifest = ingest(root, tmp_path / "out", crop=True)
    assert manifest.rows == 25
    whole = np.asarray(Image.open(root / IMAGES / "1/03abc0.jpg").convert("RGB"))
    with Image.open(io.BytesIO(image(tmp_path / "out", "1/03abc0.jpg"))) as cropped:
        assert (cropped.format, cropped.size) == ("PNG", (20, 16))
        np.testing.assert_array_equal(np.asarray(cropped), whole[2:18, 4:24])
    with Image.open(io.BytesIO(image(tmp_path / "out", "1/07abc0.png"))) as cropped:
        assert cropped.size == (32, 24)
    assert skipped(tmp_path / "out") == dict.fromkeys(("1/beside.png", "1/flat.png", "1/null.png"), "no face box")
    assert source(root, crop=True).identity() != source(root).identity()


def test_a_validation_list_without_its_header_is_read_in_the_published_order(tmp_path: Path) -> None:
    with_header = ingest(official(tmp_path / "in"), tmp_path / "1")
    assert ingest(official(tmp_path / "in", header=False), tmp_path / "2").content_hash == with_header.content_hash


def annotation(value: object, dtype: str = "<U1") -> bytes:
    out = io.BytesIO()
    np.save(out, np.array(value, dtype=dtype), allow_pickle=True)
    return out.getvalue()


def release(root: Path) -> Path:
    for code in range(8):
        for n, name in enumerate(("train_set", "train_set", "val_set")):
            number = 3 * code + n
            put(root / name / "images" / f"{number}.jpg", picture(number))
            put(root / name / "annotations" / f"{number}_exp.npy", annotation(str(code)))
            put(root / name / "annotations" / f"{number}_val.npy", annotation("-0.3", "<U4"))
    return root


def test_the_newer_release(tmp_path: Path) -> None:
    root = release(tmp_path / "in")
    annotations = root / "train_set" / "annotations"
    kinds = {
        "50": annotation(1, "<i8"),
        "51": annotation(1, "f4"),
        "52": annotation(["1"]),
        "53": annotation("1", "S1"),
    }
    bad = {
        "60": (annotation("8"), "no expression (none)"),
        "61": (annotation("12", "<U2"), "label out of range"),
        "62": (annotation("", "<U1"), "label out of range"),
        "63": (annotation(1.5, "f8"), "label out of range"),
        "64": (annotation(["1", "2"]), "unreadable annotation"),
        "65": (annotation("1", "O"), "unreadable annotation"),  # would be built by pickle
        "66": (b"no numpy", "unreadable annotation"),
        "67": (annotation("1")[:-2], "unreadable annotation"),
        "68": (annotation("1") + b"0" * 5000, "unreadable annotation"),
        "69": (annotation("1").replace(b"(), ", b"(9999999999,), ")[:-15], "unreadable annotation"),
    }
    for name, data in (kinds | {name: data for name, (data, _) in bad.items()}).items():
        put(root / "train_set" / "images" / f"{name}.jpg", picture(int(name)))
        put(annotations / f"{name}_exp.npy", data)
    put(root / "train_set" / "images" / "70.jpg", picture(70))
    manifest = ingest(root, tmp_path / "out")
    assert manifest.domains == EXPRESSIONS
    assert manifest.rows_by_domain["train"] == dict.fromkeys(EXPRESSIONS, 2) | {"happiness": 6}
    assert manifest.rows_by_split["val"] == 8
    assert rows(tmp_path / "out")["val_set/images/8.jpg"]["expression"] == 2
    reasons = {f"train_set/images/{name}.jpg": reason for name, (_, reason) in bad.items()}
    assert skipped(tmp_path / "out") == reasons | {"train_set/images/70.jpg": "no annotation"}


def test_a_changed_label_of_the_release_is_another_unit(tmp_path: Path) -> None:
    root = release(tmp_path / "in")
    before = [pickle.loads(pickle.dumps(unit)).fingerprint for unit in source(root).units]
    assert before == [unit.fingerprint for unit in source(root).units]
    put(root / "val_set" / "annotations" / "2_exp.npy", annotation("10", "<U2"))
    after = [unit.fingerprint for unit in source(root).units]
    assert after[:-2] == before[:-2]
    assert after != before


NAMES = ("Neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")


@pytest.mark.parametrize("names", [NAMES, tuple(map(str, range(8)))], ids=["names", "digits"])
@pytest.mark.parametrize("tops", [("train", "val", "test"), ("Train", "Test")])
def test_copies_with_splits_above(tmp_path: Path, names: tuple[str, ...], tops: tuple[str, ...]) -> None:
    for n, top in enumerate(tops):
        for code, name in enumerate(names):
            put(tmp_path / "in" / "AffectNet" / top / name / "a.png", picture(10 * code + n, "PNG"))
    manifest = ingest(tmp_path / "in", tmp_path / "out")  # the folder above the copy will do
    assert manifest.domains == EXPRESSIONS
    assert manifest.rows_by_domain == {top.lower(): dict.fromkeys(EXPRESSIONS, 1) for top in tops}
    for key, row in rows(tmp_path / "out").items():
        assert key.startswith(tops)
        assert row["expression"] == names.index(key.split("/")[1])


def test_the_flat_copy_and_its_labels(tmp_path: Path) -> None:
    lines = [",pth,label,relFCs"]
    for code, name in enumerate(NAMES):
        for n in range(40):
            put(tmp_path / "in" / name / f"image{n:07d}.jpg", picture(100 * code + n))
            label = "surprise" if n < 3 else name  # wrong three times, but not in the folder of surprise
            lines.append(f"{n},{name}/image{n:07d}.jpg,{label},0.8")
    lines.append("9,anger/absent.jpg,anger,0.9")
    put(tmp_path / "in" / "labels.csv", "\n".join(lines).encode())
    found = source(tmp_path / "in")
    assert "labels.csv disagrees with the folder of 21 of 320 images: the folder is taken" in found.notes
    assert "labels.csv names 1 images that are not there, or not images" in found.notes
    manifest = write_dataset(str(tmp_path / "out"), found)
    assert manifest.source["labels_disagree"] == 21
    assert manifest.skipped == {}
    for key, row in rows(tmp_path / "out").items():
        assert row["expression"] == NAMES.index(key.split("/")[0])
    assert manifest.rows == 320
    assert 200 < manifest.rows_by_split["train"] < 300
    assert min(manifest.rows_by_split.values()) > 10
    # The split of an image depends on nothing but its path.
    (tmp_path / "in" / "anger" / "image0000000.jpg").unlink()
    again = {entry.key: entry.split for unit in source(tmp_path / "in").units for entry in unit.entries}
    assert again.items() <= {key: row["split"] for key, row in rows(tmp_path / "out").items()}.items()


def test_what_cannot_be_used_is_said_in_one_line(tmp_path: Path) -> None:
    put(tmp_path / "other" / "a.txt", b"a")
    with pytest.raises(InputError, match=r"no layout of AffectNet \(found a.txt\): expected Manually_Annotated_file"):
        source(tmp_path / "other")
    root = official(tmp_path / "in")
    lists = root / "Manually_Annotated_file_lists"
    text = (lists / "training.csv").read_text()
    put(lists / "training.csv", text.replace("face_widht", "x").replace("face_width", "face_widht").encode())
    source(root)  # the box is not asked for
    with pytest.raises(InputError, match=r"training.csv has no column 'face_width', is it 'face_widht'\?"):
        source(root, crop=True)
    put(lists / "training.csv", b"")
    with pytest.raises(InputError, match=r"training.csv is empty"):
        source(root)
    put(lists / "training.csv", b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"training.csv is no CSV in UTF-8"):
        source(root)
    (lists / "training.csv").unlink()
    with pytest.raises(InputError, match=r"has no training.csv: both lists are needed"):
        source(root)
    for code in range(7):
        put(tmp_path / "seven" / "train" / str(code) / "a.jpg", picture(code))
    with pytest.raises(InputError, match="domain 'contempt' has no image in train: add some, or pass --allow-missing"):
        source(tmp_path / "seven")
    put(tmp_path / "seven" / "train" / "8" / "a.jpg", picture(8))
    with pytest.raises(InputError, match="folder train/8: unknown expression of AffectNet '8'"):
        source(tmp_path / "seven")


def test_on_s3_it_is_the_same(s3: str, tmp_path: Path) -> None:
    for name, root in (("lists", official(tmp_path / "a")), ("release", release(tmp_path / "b"))):
        storage.put_folder(root, storage.join(s3, name))
        local = ingest(root, tmp_path / f"{name}-local")
        assert ingest(storage.join(s3, name), tmp_path / f"{name}-s3").content_hash == local.content_hash
