"""Embed every image of a data set once and keep the vectors beside it; images that have theirs are left alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import torch

from stargan_ray.data import storage
from stargan_ray.data.decode import UndecodableError, decode
from stargan_ray.data.embeddings import Store, Vectors
from stargan_ray.data.pools import Pixels
from stargan_ray.data.shards import Dataset
from stargan_ray.data.transforms import to_float
from stargan_ray.errors import InputError
from stargan_ray.methods.identity import IdentityMethod
from stargan_ray.runtime.block_pool import each_block
from stargan_ray.runtime.defaults import BLOCK
from stargan_ray.runtime.models import load_model
from stargan_ray.runtime.score_store import BATCH

Embed = Callable[[Pixels], Vectors]  # (n, 3, size, size) -> (n, 2, I): of the images and of their mirror images


@dataclass(frozen=True)
class Embedder:
    """A trained embedder, as the pool takes it along.

    Attributes:
        where: what was loaded, resolved.
        content_hash: of its weights.
        width: I, of its vectors.
        size: pixels of the images that it was trained on.
        make: (nothing) -> its function; picklable, called once in every process.
    """

    where: str
    content_hash: str
    width: int
    size: int
    make: Callable[[], Embed]


def open_embedder(where: str) -> Embedder:
    """The embedder of a model folder, checkpoint, run or ``models:/…``.

    Raises:
        InputError: it is not there, or no identity embedder.
    """
    model = load_model(where)
    if not isinstance(model.method, IdentityMethod):
        raise InputError(f"{where} is a model of kind {model.kind}: an identity embedder is needed")
    # the resolved place: the workers must not follow an alias that has moved meanwhile
    make = partial(_load_embed, model.where)
    return Embedder(model.where, model.content_hash, model.method.embedding, model.size, make)


def _load_embed(where: str) -> Embed:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = load_model(where, device).networks["embedder"]

    def embed(images: Pixels) -> Vectors:
        with torch.inference_mode():
            plain = to_float(torch.from_numpy(images).to(device))
            # one after the other: both at once would need twice the memory
            found = torch.stack([network(view).float() for view in (plain, plain.flip(3))], dim=1)
        return np.asarray(found.cpu().numpy(), np.float32)

    return embed


@dataclass(frozen=True)
class Embedded:
    """What is beside the data set now.

    Attributes:
        uri: of the folder.
        images: different images in the data set.
        known: of them, those that had their vectors before.
        unreadable: of them, those that cannot be read or are not what the index says.
    """

    uri: str
    images: int
    known: int
    unreadable: int


def embed(
    dataset: Dataset,
    embedder: Embedder,
    *,
    size: int = 0,
    parallel: int = 1,
    block: int = BLOCK,
    on_embedded: Callable[[int, int], None] = lambda _new, _of: None,
) -> Embedded:
    """Embed the images of a data set that have no vectors yet; a run after a killed one goes on behind its last block.

    Args:
        dataset: whose.
        embedder: by what.
        size: pixels that images are decoded to, ``data.size`` of the training that will use them; 0 = the embedder's.
        parallel: processes; 1 is this one, more are actors of Ray.
        block: images that are embedded and stored together.
        on_embedded: told of (new images, all images), for progress.

    Raises:
        InputError: nothing can be written beside the data set, the cluster is too small, or the embedder gives numbers
            that are not finite.
    """
    if block < 1:
        raise InputError(f"--block {block}: allowed are values >= 1")
    store = Store(dataset.uri, embedder.content_hash, size or embedder.size, embedder.width)
    storage.check_writable(store.uri)
    hashes = dataset.index["content_hash"].to_numpy()
    _, first = np.unique(hashes, return_index=True)
    rows = np.sort(first)  # in the order of storage: a row group is read once
    known = pc.is_in(dataset.index["content_hash"], value_set=store.known()).to_numpy()[rows]
    work = _Work(dataset, embedder, store, rows[~known], block)
    on_embedded(int(known.sum()), len(rows))
    unreadable = 0
    for start in each_block(work, range(0, len(work.rows), block), parallel):
        asked = work.asked(start)
        count = store.count(asked)
        if count is None:
            raise InputError(f"{store.uri} cannot be read here: workers on other machines need s3://…")
        unreadable += len(asked) - count
        on_embedded(len(asked), len(rows))
    counts = {"images": len(rows), "unreadable": unreadable}
    store.finish({"model": embedder.where, "data_hash": dataset.manifest.content_hash, **counts})
    return Embedded(store.uri, len(rows), int(known.sum()), unreadable)


@dataclass(frozen=True)
class _Work:
    """The images without vectors, in blocks; see ``block_pool.Work``."""

    dataset: Dataset
    embedder: Embedder
    store: Store
    rows: npt.NDArray[np.int64]
    block: int

    def asked(self, start: int) -> list[str]:
        """The hashes of a block's images."""
        places = self.rows[start : start + self.block]
        found: list[str] = self.dataset.index["content_hash"].take(places).to_pylist()
        return found

    def make(self) -> Embed:
        """The embedder's function."""
        return self.embedder.make()

    def stored(self, start: int) -> bool:
        """Whether every image of a block has its vectors; one that is unreadable is tried again, it may be mended."""
        asked = self.asked(start)
        return self.store.count(asked) == len(asked)

    def write(self, start: int, embed: Embed) -> None:
        """Embed a block and store it."""
        asked = self.asked(start)
        hashes: list[str] = []
        vectors = [np.empty((0, 2, self.store.width), np.float32)]
        for at in range(0, len(asked), BATCH):
            batch = asked[at : at + BATCH]
            images = self._images(start + at, batch)
            if images:
                hashes += images
                vectors.append(embed(np.stack(list(images.values()))))
        joined = np.concatenate(vectors)
        if not np.isfinite(joined).all():
            raise InputError(f"{self.embedder.where} gives embeddings that are not finite: train it again")
        self.store.write(asked, hashes, joined)

    def _images(self, start: int, hashes: list[str]) -> dict[str, Pixels]:
        """Those that can be decoded and are what the index says: a vector is found by the hash of its image."""
        found = {}
        for name, data in zip(hashes, self.dataset.images(self.rows[start : start + len(hashes)]), strict=True):
            if hashlib.sha256(data).hexdigest() == name:
                try:
                    found[name] = decode(data, self.store.size)
                except UndecodableError:
                    continue  # it has no vector, and is counted by that
        return found
