"""The flags of jobs/ingest.py: a published layout or generated faces, and where the data set goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import tyro

from stargan_ray.data.faces import FacesConfig
from stargan_ray.data.readers.affectnet import AffectnetConfig, read_affectnet
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.readers.fer2013 import Fer2013Config, read_fer2013
from stargan_ray.data.readers.ferplus import FerplusConfig, read_ferplus
from stargan_ray.data.readers.folder import FolderConfig, read_folder
from stargan_ray.data.readers.kdef import KdefConfig, read_kdef
from stargan_ray.data.readers.lfw import LfwConfig, read_lfw
from stargan_ray.data.readers.studio import read_studio
from stargan_ray.data.studio import StudioConfig
from stargan_ray.data.units import SHARD_ROWS, Source
from stargan_ray.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where the data set goes, and how.

    Attributes:
        out: a path or s3://bucket/prefix.
        parallel: processes; None is one, or a whole cluster if RAY_ADDRESS names one.
        overwrite: replace another data set there.
        shard_rows: most rows of a shard.
        duplicates: of several rows with one image, keep all, or drop all but the first in the order of keys.
    """

    out: str
    parallel: int | None = None
    overwrite: bool = False
    shard_rows: int = SHARD_ROWS
    duplicates: Literal["keep", "drop"] = "keep"

    def __post_init__(self) -> None:
        if self.shard_rows < 1 or (self.parallel is not None and self.parallel < 1):
            raise InputError("--shard-rows and --parallel must be 1 or more")


@dataclass(frozen=True, kw_only=True)
class Faces(Output):
    """Generated faces, with their truth beside them for evaluation."""

    faces: FacesConfig = field(default_factory=FacesConfig)


@dataclass(frozen=True, kw_only=True)
class Studio(Output):
    """Generated faces in KDEF's layout: 70 people, seven expressions, two sessions, frontal."""

    studio: StudioConfig = field(default_factory=StudioConfig)


@dataclass(frozen=True, kw_only=True)
class Folder(Output, FolderConfig):
    """A folder {train,val,test}/<domain>/*, or a CSV with path, expression, identity, split."""

    path: tyro.conf.Positional[str]


@dataclass(frozen=True, kw_only=True)
class Fer2013(Output, Fer2013Config):
    """FER2013: fer2013.csv, icml_face_data.csv or folders of expressions."""

    path: tyro.conf.Positional[str]


@dataclass(frozen=True, kw_only=True)
class Ferplus(Output, FerplusConfig):
    """FER+: the votes of fer2013new.csv over FER2013's table."""

    path: tyro.conf.Positional[str]


@dataclass(frozen=True, kw_only=True)
class Affectnet(Output, AffectnetConfig):
    """AffectNet: the official lists, the newer release, or folders of expressions."""

    path: tyro.conf.Positional[str]


@dataclass(frozen=True, kw_only=True)
class Lfw(Output, LfwConfig):
    """LFW: people in folders, or all images in one."""

    path: tyro.conf.Positional[str]


@dataclass(frozen=True, kw_only=True)
class Kdef(Output, KdefConfig):
    """KDEF: 70 people, seven expressions, five angles."""

    path: tyro.conf.Positional[str]

    def __post_init__(self) -> None:
        KdefConfig.__post_init__(self)
        super().__post_init__()


def find(job: Any) -> Source:
    """What the job is to write: found, but not read or drawn yet."""
    if isinstance(job, Faces):
        return read_faces(job.faces, job.shard_rows)
    if isinstance(job, Studio):
        return read_studio(job.studio, job.shard_rows)
    readers: dict[type, Callable[[Any, int], Source]] = {
        Folder: read_folder,
        Fer2013: read_fer2013,
        Ferplus: read_ferplus,
        Affectnet: read_affectnet,
        Lfw: read_lfw,
        Kdef: read_kdef,
    }
    return readers[type(job)](job, job.shard_rows)


Kinds = Faces | Studio | Folder | Fer2013 | Ferplus | Affectnet | Lfw | Kdef
