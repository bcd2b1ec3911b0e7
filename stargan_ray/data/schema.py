"""The one row schema that every reader yields and every data set on storage has.

A data set is a folder at a URI:

    manifest.json          written last: a folder without it is not a data set
    rows/<split>-<n>.parquet   rows of ROW_SCHEMA, row groups of ROW_GROUP rows
    index.parquet          INDEX_SCHEMA: one line a row, without the image, in storage order; what it does not name
                           is not in the data set (duplicates that were dropped)
    skipped.parquet        what was not taken over: path, reason
    truth/<n>.parquet      TRUTH_SCHEMA, generated faces only; read by stargan_ray.evaluation alone
    lineage.parquet        translated data sets only: the source of each row and the model; no part of the content
    embeddings/<embedder>/ identity embeddings of the images (stargan_ray.data.embeddings); no part of the content
    reviews/*.json         what people said of the rows (stargan_ray.data.reviews); no part of the content
"""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa

SCHEMA_VERSION = 1

# AffectNet's order; every reader maps the names and indices of its source to it.
EXPRESSIONS = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
SPLITS = ("train", "val", "test")
ROW_GROUP = 64  # rows read together: the unit of random access into a shard
GROUP_ROWS = 1 << 14  # rows of a table without images that are written together: what a writer holds of it

ROW_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),  # unique in the data set, stable over re-ingests
        pa.field("image", pa.binary(), nullable=False),  # the file as it came; a PNG of a crop or of pixel values
        pa.field("expression", pa.int8()),  # index into the manifest's domains, or null
        pa.field("identity", pa.string()),  # the person's name or number, or null
        pa.field("split", pa.string(), nullable=False),  # one of SPLITS
        pa.field("source", pa.string(), nullable=False),  # which reader brought it, e.g. "faces", "folder"
        pa.field("weight", pa.float32()),  # how often training draws it against a row of weight 1, in (0, 1]; null = 1
        pa.field("content_hash", pa.string(), nullable=False),  # sha256 of the image bytes, hex
    ]
)

INDEX_SCHEMA = pa.schema(
    [field for field in ROW_SCHEMA if field.name != "image"]
    + [
        pa.field("shard", pa.int32(), nullable=False),  # position in manifest.shards
        pa.field("row", pa.int32(), nullable=False),  # position in that shard
    ]
)

TRUTH_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("identity", pa.string(), nullable=False),
        pa.field("expression", pa.int8(), nullable=False),  # what the face really shows
        pa.field("intensity", pa.float32(), nullable=False),  # in [0, 1]
        pa.field("corrupted", pa.bool_(), nullable=False),  # the row's label is not the true one
    ]
)


class Row(NamedTuple):  # a tuple: one is made for every image, and made into columns again
    """One image on its way into a data set; fields as in ROW_SCHEMA, without the hash (computed on write)."""

    key: str
    image: bytes
    expression: int | None
    identity: str | None
    split: str
    source: str
    weight: float | None = None


class Truth(NamedTuple):
    """What is really in a generated image; never seen by training."""

    key: str
    identity: str
    expression: int
    intensity: float
    corrupted: bool


class Skipped(NamedTuple):
    """A file or row that was not taken over, and why (``unreadable``, ``not an image``, ``empty``, …)."""

    path: str
    reason: str
