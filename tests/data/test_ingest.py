"""Ingest end to end: layouts, damaged files, image modes, truth apart from rows, and the job as people run it.

pytest tests/data/test_ingest.py                 # without Ray
pytest tests/data/test_ingest.py -m slow         # the same through Ray Data
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from forked import run_job
from PIL import Image

from stargan_ray.data import storage
from stargan_ray.data.decode import UndecodableError, decode
from stargan_ray.data.faces import FacesConfig, generate
from stargan_ray.data.manifest import Manifest
from stargan_ray.data.pools import load_pool
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.readers.files import Limits
from stargan_ray.data.readers.folder import FolderConfig, read_folder
from stargan_ray.data.schema import EXPRESSIONS, TRUTH_SCHEMA
from stargan_ray.data.shards import open_dataset
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError


def picture(mode: str = "RGB", kind: str = "JPEG", size: tuple[int, int] = (24, 16), seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(out, kind)
    return out.getvalue()


def tree(root: Path, names: tuple[str, str] = ("cat", "dog"), each: int = 3) -> Path:
    for split in ("train", "val"):
        for name in names:
            for number in range(each):
                storage.write_bytes(str(root / split / name / f"{number}.jpg"), picture(seed=number))
    return root


def ingest(path: Path | str, out: Path | str, **fields: object) -> Manifest:
    return write_dataset(str(out), read_folder(FolderConfig(str(path), **fields), shard_rows=4))


def skipped(out: Path) -> dict[str, str]:
    return {line["path"]: line["reason"] for line in pq.read_table(out / "skipped.parquet").to_pylist()}


def test_a_folder_of_domains(tmp_path: Path) -> None:
    manifest = ingest(tree(tmp_path / "in"), tmp_path / "out")
    assert manifest.domains == ("cat", "dog")
    assert manifest.rows_by_domain == {split: {"cat": 3, "dog": 3} for split in ("train", "val")}
    data = open_dataset(str(tmp_path / "out"))
    line = data.index.to_pylist()[4]
    assert (line["key"], line["expression"], line["identity"], line["source"]) == (
        "train/dog/1.jpg",
        1,
        None,
        "folder",
    )
    assert data.images(np.array([4])) == [(tmp_path / "in" / line["key"]).read_bytes()]


def test_expression_names_in_any_spelling_take_the_projects_order(tmp_path: Path) -> None:
    root = tree(tmp_path / "in", ("Angry", "happy"))
    for split, spelling in (("train", "neutral"), ("val", "Neutral")):
        storage.write_bytes(str(root / split / spelling / "n.png"), picture(kind="PNG"))
    source = read_folder(FolderConfig(str(root)))
    assert source.domains == ("neutral", "happiness", "anger")
    assert any("Angry → anger" in note for note in source.notes)
    manifest = write_dataset(str(tmp_path / "out"), source)
    assert manifest.rows_by_domain["val"] == {"neutral": 1, "happiness": 3, "anger": 3}


def test_a_csv(tmp_path: Path) -> None:
    tree(tmp_path / "images")
    absolute = tmp_path / "images" / "val" / "dog" / "0.jpg"
    (tmp_path / "list.csv").write_text(
        "\ufeffpath, expression,identity,split,age\n"
        "images/train/cat/0.jpg,sad,ann,train,7\n"
        "./images/train/cat/1.jpg,,ann,train,7\n"
        f"{absolute},sad,,validation,\n"
        "images/train/cat/0.jpg,sad,ann,train,7\n"
        "images/nowhere.jpg,sad,ann,train,7\n"
        "images/train/cat/2.jpg,sad,ann,trian,7\n"
        ",sad,ann,train,7\n"
        "\n",
        encoding="utf-8",
    )
    source = read_folder(FolderConfig(str(tmp_path / "list.csv")))
    assert source.notes[0] == "columns not used: age"
    manifest = write_dataset(str(tmp_path / "out"), source)
    assert manifest.domains == ("sadness",)
    assert manifest.rows_by_domain == {"train": {"sadness": 1, "(none)": 1}, "val": {"sadness": 1}}
    assert manifest.identities == {"train": 1, "val": 0}
    assert skipped(tmp_path / "out") == {
        "images/train/cat/0.jpg": "listed twice",
        "images/nowhere.jpg": "missing",
        "images/train/cat/2.jpg": "unknown split",
        "line 8": "no path",
    }


def test_what_is_unusable_is_skipped_counted_and_listed(tmp_path: Path) -> None:
    root = tree(tmp_path / "in")
    bad = root / "train" / "cat"
    whole = picture("RGB", "PNG")
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    flat = io.BytesIO()
    Image.new("1", (3000, 1000)).save(flat, "PNG")  # 3 million pixels in less than a kilobyte
    cases = {
        "truncated.jpg": (picture(size=(99, 99))[:-500], "unreadable"),
        "flipped.png": (bytes(flipped), "unreadable"),
        "text.jpg": (b"this is no image", "not an image"),
        "drawing.jpg": (picture(kind="GIF"), "not an image"),
        "empty.webp": (b"", "empty"),
        "heavy.bmp": (picture(kind="BMP", size=(100, 100)), "oversized"),
        "bomb.png": (flat.getvalue(), "oversized"),
        "checksum.png": (whole[:-13] + bytes([whole[-13] ^ 1]) + whole[-12:], "unreadable"),  # of the pixels' chunk
        "Thumbs.db": (b"\0", "not an image"),
    }
    for name, (data, _) in cases.items():
        (bad / name).write_bytes(data)
    (bad / "broken-link.jpg").symlink_to("nowhere")
    (bad / "folder.jpg").mkdir()
    (bad / os.fsdecode(b"\xff.jpg")).write_bytes(whole)
    (bad / "link.jpg").symlink_to(root / "val" / "dog" / "0.jpg")
    (root / "README.txt").write_text("about")
    (root / "val" / "stray.jpg").write_bytes(whole)
    manifest = ingest(root, tmp_path / "out", limits=Limits(max_bytes=25_000, max_pixels=1_000_000))
    assert manifest.rows == 12 + 1
    expected = {f"train/cat/{name}": reason for name, (_, reason) in cases.items()} | {
        "train/cat/broken-link.jpg": "unreadable",
        "train/cat/folder.jpg": "not an image",
        "train/cat/�.jpg": "name is not UTF-8",
        "README.txt": "outside train, val and test",
        "val/stray.jpg": "outside a domain's folder",
    }
    assert skipped(tmp_path / "out") == expected
    assert manifest.skipped == {r: list(expected.values()).count(r) for r in sorted(set(expected.values()))}


def test_by_the_header_alone_damage_within_a_jpeg_is_met_later(tmp_path: Path) -> None:
    root = tree(tmp_path / "in")
    spoilt = bytearray(picture(size=(99, 99)))
    spoilt[-400:-2] = b"\xff\xc4" * 199  # no coefficients and no tables, but its end
    (root / "train" / "cat" / "spoilt.jpg").write_bytes(spoilt)
    (root / "train" / "cat" / "cut.jpg").write_bytes(picture(size=(99, 99))[:-500])
    full = ingest(root, tmp_path / "full")
    quick = ingest(root, tmp_path / "quick", limits=Limits(verify="header"))
    assert full.skipped == {"unreadable": 2}
    assert skipped(tmp_path / "quick") == {"train/cat/cut.jpg": "unreadable"}
    assert "verify" not in full.source
    assert quick.source["verify"] == "header"
    with pytest.raises(InputError, match="holds another data set"):
        ingest(root, tmp_path / "full", limits=Limits(verify="header"))
    data = open_dataset(str(tmp_path / "quick"))
    place = data.index["key"].to_pylist().index("train/cat/spoilt.jpg")
    with pytest.raises(InputError, match=r"quick: image 'train/cat/spoilt.jpg' .*--limits.verify header") as caught:
        load_pool(data, np.array([0, place]), 16)
    assert "\n" not in str(caught.value)
    rest = np.delete(np.arange(len(data)), place)
    assert data.images(rest) == open_dataset(str(tmp_path / "full")).images(np.arange(len(data) - 1))
    with pytest.raises(InputError, match="unknown verify 'heads': did you mean 'header'"):
        Limits(verify="heads")  # type: ignore[arg-type]


def test_all_that_is_taken_over_decodes(tmp_path: Path) -> None:
    files = {
        f"{mode}.{kind.lower()}": picture(mode, kind)
        for mode, kind in (
            ("L", "JPEG"),
            ("CMYK", "JPEG"),
            ("1", "PNG"),
            ("LA", "PNG"),
            ("P", "PNG"),
            ("RGBA", "PNG"),
            ("RGBA", "WEBP"),
            ("RGB", "BMP"),
        )
    }
    wide = io.BytesIO()
    Image.fromarray(np.linspace(0, 65535, 24 * 16).reshape(16, 24).astype(np.uint16)).save(wide, "PNG")
    files["wide.png"] = wide.getvalue()
    for split in ("train", "val"):
        for name, data in files.items():
            storage.write_bytes(str(tmp_path / "in" / split / "all" / name), data)
    assert ingest(tmp_path / "in", tmp_path / "out").rows == 2 * len(files)
    for data in open_dataset(str(tmp_path / "out")).images(np.arange(2 * len(files))):
        pixels = decode(data, 16)
        assert (pixels.shape, pixels.dtype) == ((3, 16, 16), np.uint8)
        assert pixels.std() > 10  # neither black nor white
    ramp = decode(files["wide.png"], 16)
    assert ramp[:, 0].max() < 30
    assert ramp[:, -1].min() > 225


def test_decode_crops_turns_and_lays_on_white() -> None:
    wide = Image.new("RGB", (60, 20), (200, 0, 0))
    wide.paste((0, 0, 200), (20, 0, 40, 10))  # the middle: blue above
    wide.paste((0, 200, 0), (20, 10, 40, 20))  # and green below
    plain, turned = io.BytesIO(), io.BytesIO()
    wide.save(plain, "PNG")
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    wide.save(turned, "PNG", exif=exif)
    upright, inverted = decode(plain.getvalue(), 20), decode(turned.getvalue(), 20)
    assert upright[:, 5, 10].tolist() == [0, 0, 200]
    assert upright[:, 15, 10].tolist() == [0, 200, 0]
    assert upright[0].max() == 0  # nothing red is left
    np.testing.assert_array_equal(inverted, upright[:, ::-1, ::-1])
    clear = io.BytesIO()
    Image.new("RGBA", (8, 8), (10, 10, 10, 0)).save(clear, "PNG")
    assert decode(clear.getvalue(), 8).min() == 255
    with pytest.raises(UndecodableError, match="not an image"):
        decode(b"no image", 8)
    with pytest.raises(UndecodableError, match="unreadable"):
        decode(picture(size=(99, 99))[:-500], 8)


def test_a_missing_or_spoilt_domain_and_a_wrong_layout_are_errors(tmp_path: Path) -> None:
    root = tree(tmp_path / "in")
    for file in (root / "val" / "dog").iterdir():
        file.write_bytes(b"spoilt")
    with pytest.raises(InputError, match=r"domain 'dog' has no usable image in val \(3 not an image\)"):
        ingest(root, tmp_path / "out")
    for file in (root / "val" / "dog").iterdir():
        file.unlink()
    with pytest.raises(InputError, match="domain 'dog' has no image in val: add some, or pass --allow-missing"):
        ingest(root, tmp_path / "out")
    assert ingest(root, tmp_path / "out2", allow_missing=True).rows_by_domain["val"] == {"cat": 3}
    with pytest.raises(InputError, match=r"has no train/ or val/ \(found cat, dog\): expected {train,val}/<domain>/\*"):
        ingest(root / "train", tmp_path / "out3")
    with pytest.raises(InputError, match="does not exist"):
        ingest(tmp_path / "absent", tmp_path / "out3")
    (tmp_path / "bad.csv").write_text("file,label\na,b\n")
    with pytest.raises(InputError, match=r"has no column 'path' \(found file, label\)"):
        ingest(tmp_path / "bad.csv", tmp_path / "out3")
    (tmp_path / "bad.csv").write_text("path\nnowhere.jpg\n")
    with pytest.raises(InputError, match=r"nothing usable was found .*\(1 missing\)"):
        ingest(tmp_path / "bad.csv", tmp_path / "out3")


def test_a_changed_folder_is_noticed(tmp_path: Path) -> None:
    root = tree(tmp_path / "in")
    ingest(root, tmp_path / "out")
    (root / "train" / "cat" / "new.jpg").write_bytes(picture(seed=9))
    with pytest.raises(InputError, match="holds another data set"):
        ingest(root, tmp_path / "out")


def test_a_folder_on_s3_is_read_like_a_local_one(s3: str, tmp_path: Path) -> None:
    root = tree(tmp_path / "in")
    storage.put_folder(root, storage.join(s3, "in"))
    storage.write_bytes(storage.join(s3, "in", "list.csv"), b"path,expression\ntrain/cat/0.jpg,cat\n")
    local = ingest(root, tmp_path / "out")
    assert ingest(storage.join(s3, "in"), storage.join(s3, "out")).content_hash == local.content_hash
    assert ingest(storage.join(s3, "in", "list.csv"), storage.join(s3, "out2")).rows == 1


FACES = FacesConfig(people=6, images_per_person=8, size=32, label_noise=0.3, splits=(0.5, 0.5, 0.0))


def test_faces_with_their_truth_apart(tmp_path: Path) -> None:
    manifest = write_dataset(str(tmp_path), read_faces(FACES, shard_rows=20))
    assert manifest.domains == EXPRESSIONS
    assert (manifest.rows, manifest.identities) == (48, {"train": 3, "val": 3})
    made = list(generate(FACES))
    data = open_dataset(str(tmp_path))
    images = dict(zip(data.index.column("key").to_pylist(), data.images(np.arange(48)), strict=True))
    assert images == {row.key: row.image for row, _ in made}
    found = pq.read_table(tmp_path / "truth", schema=TRUTH_SCHEMA).to_pylist()
    assert {t["key"]: t["expression"] for t in found} == {truth.key: truth.expression for _, truth in made}
    assert sum(t["corrupted"] for t in found) == sum(truth.corrupted for _, truth in made) > 0
    # No door from the rows to the truth: neither a column, nor a file that the reader knows of.
    assert not {"intensity", "corrupted", "truth"} & {*data.index.column_names, *vars(data)}
    assert not any("truth" in shard.path for shard in manifest.shards)


FACES_FLAGS = (
    "--faces.people",
    "3",
    "--faces.images-per-person",
    "8",
    "--faces.size",
    "32",
    "--shard-rows",
    "10",
)


def test_the_job_writes_says_where_and_does_nothing_twice(s3: str) -> None:
    uri = storage.join(s3, "faces")
    first = run_job("ingest", "faces", "--out", uri, *FACES_FLAGS)
    assert first.returncode == 0, first.stderr
    assert "24 rows" in first.stdout
    assert first.stdout.endswith(f"data set: {uri}\n")
    assert open_dataset(uri).manifest.rows == 24
    second = run_job("ingest", "faces", "--out", uri, *FACES_FLAGS)
    assert second.stdout == first.stdout


@pytest.mark.parametrize("case", ["file", "endpoint", "credentials", "bucket", "path", "flag"])
def test_the_job_says_in_one_line_what_is_wrong(tmp_path: Path, case: str, s3: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    flags, environment, said = {
        "file": (("faces", "--out", f"{tmp_path}/file/below"), {}, "file/below"),
        "endpoint": (
            ("faces", "--out", "s3://b/x"),
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
            "cannot be reached",
        ),
        "credentials": (
            ("faces", "--out", f"{s3}/x"),
            {"AWS_ACCESS_KEY_ID": ""},
            "no S3 credentials were found",
        ),
        "bucket": (("faces", "--out", "s3://absent/x"), {}, "the bucket does not exist"),
        "path": (("folder", f"{tmp_path}/absent", "--out", f"{tmp_path}/x"), {}, "absent does not exist"),
        "flag": (("faces", "--out", f"{tmp_path}/x", "--faces.siez", "32"), {}, "--faces.size"),
    }[case]
    ended = run_job("ingest", *flags, **environment)
    assert ended.returncode == 2
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    if case != "flag":
        assert ended.stderr.splitlines()[-1].startswith("error: ")


@pytest.mark.slow
def test_through_ray_data_the_result_is_the_same(tmp_path: Path) -> None:
    for number in (1, 2):
        out = str(tmp_path / str(number))
        ended = run_job("ingest", "faces", "--out", out, "--parallel", str(number), *FACES_FLAGS)
        assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "1" / "manifest.json").read_bytes() == (tmp_path / "2" / "manifest.json").read_bytes()
