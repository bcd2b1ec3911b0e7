"""The configuration of a run: typed, frozen, readable as JSON and rebuilt from it.

``Recipe`` is everything that decides what a run computes. Recipes are named full configs in ``recipes.py``;
flags only override fields. A method is its own dataclass, so its hyperparameters live in ``methods/``.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from stargan_ray import schedules
from stargan_ray.data.plan import Shape
from stargan_ray.data.transforms import Augment
from stargan_ray.errors import InputError, unknown
from stargan_ray.methods.base import Translator
from stargan_ray.methods.expression import ExpressionMethod
from stargan_ray.methods.fa_gan import FAGANStyle
from stargan_ray.methods.identity import IdentityMethod
from stargan_ray.methods.identity_judge import IdentityJudgeMethod
from stargan_ray.methods.laun import LAUN
from stargan_ray.methods.stargan_v1 import StarGANv1
from stargan_ray.methods.stargan_v2 import StarGANv2
from stargan_ray.methods.stargan_v2_id import StarGANv2Identity

AnyMethod = (
    ExpressionMethod
    | IdentityMethod
    | IdentityJudgeMethod
    | StarGANv2
    | StarGANv2Identity
    | StarGANv1
    | LAUN
    | FAGANStyle
)
Gradients = Literal["fp32", "bf16"]
METHODS: dict[str, type[AnyMethod]] = {method.name: method for method in typing.get_args(AnyMethod)}


@dataclass(frozen=True)
class DataConfig:
    """What a step sees.

    Attributes:
        size: width and height of the decoded images in pixels.
        shape: global batch, lanes and window (see ``data/plan.py``).
        augment: ranges of the training augmentation.
        balance: whether every domain is drawn equally often; False = as often as the data has it, for classifiers.
        images_per_person: K of the P×K batches of an identity network.
        singles: share of the images of an identity batch that are of people with one image, who can be negatives
            alone; 0 = they are left out.
        folds: parts that the data is cut into for cross-fitting; 0 = it is not.
        fold: the part that neither training nor validation sees.
        cache_mib: memory for images in each reading process, MiB: encoded row groups, and all training images decoded
            where both fit.
        readers: Ray Data actors that read and decode for each worker.
    """

    size: int = 256
    shape: Shape = Shape()
    augment: Augment = Augment()
    balance: bool = True
    images_per_person: int = 4
    singles: float = 0.25
    folds: int = 0
    fold: int = 0
    cache_mib: int = 256
    readers: int = 1

    def __post_init__(self) -> None:
        """Refuse sizes outside what the decoder makes."""
        if not 16 <= self.size <= 2048:
            raise InputError(f"data.size = {self.size}: allowed are 16 to 2048 pixels")
        if self.augment.crop_pixels > self.size:
            raise InputError(f"data.augment.crop_pixels = {self.augment.crop_pixels}: allowed are 0 to {self.size}")
        if self.cache_mib < 1 or self.readers < 1:
            raise InputError(f"data.cache_mib, data.readers = {self.cache_mib}, {self.readers}: allowed are >= 1")
        if not 0 <= self.singles < 1:
            raise InputError(f"data.singles = {self.singles}: allowed is 0 <= singles < 1")
        if self.folds < 0 or self.folds == 1:
            raise InputError(f"data.folds = {self.folds}: allowed are 0 (none) and values >= 2")
        if not 0 <= self.fold < max(self.folds, 1):
            raise InputError(f"data.fold = {self.fold}: allowed are 0 to {max(self.folds, 1) - 1}")


@dataclass(frozen=True)
class TrainConfig:
    """How long, how exactly, and what is written when. Intervals are in steps; 0 turns the thing off.

    Attributes:
        steps: iterations of the run.
        seed: of every random stream of the run.
        accumulate: parts that a worker's share of the batch is cut into, one after another.
        precision: ``fp32``, or ``bf16`` autocast of the forward passes.
        fuse: norms and activations of G compiled into kernels of their own: for GPUs, and wants a C compiler there.
        winograd: wide 3 × 3 convolutions by Winograd's filtering where they are computed on a processor, in fp32.
        graphs: iterations recorded as CUDA graphs, which start with one call: for a GPU that waits for its processor.
        ema: decay of the averaged networks per iteration.
        threads: CPU threads of a worker; 0 = the library's choice.
        report_every: metrics are averaged over and sent after so many steps.
        sample_every: sample grids.
        validate_every: validation metrics.
        checkpoint_every: checkpoints; the last step always writes one.
        best: the validation metric that chooses the best checkpoint; empty = the latest is the best.
        higher_is_better: the sense of ``best``.
    """

    steps: int = 100_000
    seed: int = 0
    accumulate: int = 1
    precision: Literal["fp32", "bf16"] = "fp32"
    fuse: bool = False
    winograd: bool = True
    graphs: bool = False
    ema: float = 0.999
    threads: int = 0
    report_every: int = 50
    sample_every: int = 5_000
    validate_every: int = 5_000
    checkpoint_every: int = 5_000
    best: str = ""
    higher_is_better: bool = True

    def __post_init__(self) -> None:
        """Refuse counts that no run can mean."""
        for name in ("steps", "accumulate", "report_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise InputError(f"train.{name} = {getattr(self, name)}: allowed are values >= 1")
        for name in ("seed", "threads", "sample_every", "validate_every"):
            if getattr(self, name) < 0:
                raise InputError(f"train.{name} = {getattr(self, name)}: allowed are values >= 0")
        if not 0 <= self.ema < 1:
            raise InputError(f"train.ema = {self.ema}: allowed is 0 <= ema < 1")


@dataclass(frozen=True)
class ScaleConfig:
    """Where it runs; field for field what Ray's ``ScalingConfig`` takes.

    Attributes:
        num_workers: training processes; must divide ``data.shape.lanes``. Two numbers, the least and the most: as many
            as the cluster has room for, also when it grows or shrinks during the run (elastic).
        use_gpu: one GPU for each worker.
        cpus_per_worker: CPUs reserved for each worker.
        cpus_per_reader: CPUs reserved for each Ray Data actor.
        timeout_s: seconds that workers wait for one another in a collective before the run fails with the name of the
            one that did not come; longer than validation or a checkpoint may take, since rank 0 does them alone.
        restarts: how often workers that were lost are started again without a new checkpoint in between.
        gradients: what gradients travel between workers in: ``fp32``, or ``bf16``: half the bytes, rounded once a
            worker (see ``GroupWorker``). Weights and optimisers stay in fp32; a run may go on with the other one.
    """

    num_workers: int | tuple[int, int] = 1
    use_gpu: bool = False
    cpus_per_worker: float = 1.0
    cpus_per_reader: float = 1.0
    timeout_s: int = 600
    restarts: int = 3
    gradients: Gradients = "fp32"

    def __post_init__(self) -> None:
        """Refuse a run of nobody."""
        least, most = self._bounds
        if not 1 <= least <= most:
            raise InputError(
                f"scale.num_workers = {self.num_workers}: allowed are values >= 1, or the least and the most of them"
            )
        if self.cpus_per_worker <= 0 or self.cpus_per_reader <= 0:
            raise InputError("scale.cpus_per_worker, scale.cpus_per_reader: allowed are values > 0")
        if self.timeout_s < 10:
            raise InputError(f"scale.timeout_s = {self.timeout_s}: allowed are values >= 10")
        if self.restarts < 0:
            raise InputError(f"scale.restarts = {self.restarts}: allowed are values >= 0")
        if self.gradients not in typing.get_args(Gradients):
            raise unknown("scale.gradients", self.gradients, typing.get_args(Gradients))

    @property
    def workers(self) -> range:
        """Every number of workers that the run may have."""
        least, most = self._bounds
        return range(least, most + 1)

    @property
    def elastic(self) -> bool:
        """Whether the number may change during the run."""
        return len(self.workers) > 1

    @property
    def _bounds(self) -> tuple[int, int]:
        given = self.num_workers
        return (given, given) if isinstance(given, int) else given


@dataclass(frozen=True)
class Recipe:
    """A full configuration under a name."""

    name: str
    about: str
    method: AnyMethod
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    scale: ScaleConfig = field(default_factory=ScaleConfig)

    def __post_init__(self) -> None:
        """Refuse windows for a translator: its networks are built for the size of the data, and answer in it."""
        if self.data.augment.crop_pixels and isinstance(self.method, Translator):
            raise InputError(
                f"data.augment.crop_pixels = {self.data.augment.crop_pixels}: {self.method.name} trains on whole "
                "images; allowed is 0, or data.augment.crop for a crop that is enlarged"
            )


def to_json(config: Any) -> Any:
    """A config as JSON values; a method carries its name."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        named = {"name": config.name} if type(config) in METHODS.values() else {}  # type: ignore[attr-defined]
        return named | {f.name: to_json(getattr(config, f.name)) for f in dataclasses.fields(config)}
    return list(config) if isinstance(config, tuple) else config


def from_json(values: dict[str, Any]) -> Recipe:
    """The recipe of ``to_json``'s values, validated as any other; unknown fields are errors."""
    recipe = _build(Recipe, values, "recipe")
    assert isinstance(recipe, Recipe)
    return recipe


def override(recipe: Recipe, fields: Mapping[str, Any]) -> Recipe:
    """The recipe with other values of some fields, named by dotted paths as flags name them.

    >>> override(recipe, {"method.lambda_id.end": 0.0, "train.steps": 500})

    Raises:
        InputError: there is no such field, or its value is not allowed.
    """
    values = to_json(recipe)
    for path, value in fields.items():
        *folders, name = path.split(".")
        beside = [known for known in flatten(recipe) if known.split(".")[0] == path.split(".")[0]] or [*values]
        place = values
        for folder in folders:
            if not isinstance(place.get(folder), dict):
                raise unknown("field", path, beside)
            place = place[folder]
        if name not in place:
            raise unknown("field", path, beside)
        place[name] = to_json(value)
    return from_json(values)


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted path -> value, as flags name the fields."""
    flat: dict[str, Any] = {}
    for name, value in to_json(config).items():
        if isinstance(value, dict):
            flat |= flatten_json(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def flatten_json(values: dict[str, Any], prefix: str) -> dict[str, Any]:
    """``flatten`` of JSON values."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flatten_json(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def _build(kind: type, values: dict[str, Any], where: str) -> Any:
    hints = typing.get_type_hints(kind)
    names = {f.name for f in dataclasses.fields(kind)}
    for name in values:
        if name not in names:
            raise unknown(f"field of {where}", name, names)
    missing = [f.name for f in dataclasses.fields(kind) if f.name not in values and _required(f)]
    if missing:
        raise InputError(f"{where} lacks the field {missing[0]!r}")
    return kind(**{name: _value(hints[name], value, f"{where}.{name}") for name, value in values.items()})


def _required(f: dataclasses.Field[Any]) -> bool:
    return f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING


def _value(hint: Any, value: Any, where: str) -> Any:
    if hint == AnyMethod:
        values = dict(value)
        name = values.pop("name", "")
        if name not in METHODS:
            raise unknown("method", name, METHODS)
        return _build(METHODS[name], values, where)
    if hint == int | tuple[int, int]:
        pair = isinstance(value, list | tuple) and len(value) == 2
        if not all(type(number) is int for number in (value if pair else [value])):
            raise InputError(f"{where} = {value!r}: allowed is an integer, or a list of two")
        return tuple(value) if pair else value
    if isinstance(hint, types.UnionType):  # of schedules: the one that has the fields
        kinds = [kind for kind in typing.get_args(hint) if {f.name for f in dataclasses.fields(kind)} >= set(value)]
        hint = kinds[0] if kinds else typing.get_args(hint)[0]
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, dict):
            raise InputError(f"{where} = {value!r}: allowed are the fields of {hint.__name__}")
        if hint.__module__ == schedules.__name__:  # a method has several, and they do not know their names
            try:
                return _build(hint, value, where)
            except InputError as error:
                if str(error).startswith(where):
                    raise
                raise InputError(f"{where}: {error}") from error
        return _build(hint, value, where)
    origin = typing.get_origin(hint)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise InputError(f"{where} = {value!r}: allowed is a list")
        return tuple(value)
    if origin is Literal:
        if value not in typing.get_args(hint):
            raise unknown(where, str(value), map(str, typing.get_args(hint)))
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise InputError(f"{where} = {value!r}: allowed is a value of type {hint.__name__}")
    return value
