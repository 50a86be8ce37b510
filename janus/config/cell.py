"""`Cell`, the typed description of one run, and its identity (the hash that names the result).

`Cell` and its parts are frozen dataclasses, validated when they are built; `compose.py` fills them
from YAML and the command line. Nothing here imports torch, so that planning ten thousand cells
takes seconds. The settings of a method are declared in its YAML and checked by `method_spec.py`.
"""

from __future__ import annotations

import hashlib
import json
import math
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from janus.config.colours import parse_colours
from janus.config.own_order import NAMED, OWN, order_name
from janus.config.task_sizes import parse_sizes as parse_sizes
from janus.errors import ConfigError
from janus.safe_names import check_name

AUGMENTATIONS = ("none", "shift", "crop")
"""Names of train-time augmentations; see `augment` and `transforms` in janus/data/images."""

INTERPOLATIONS = ("bilinear", "bicubic")
"""Kernels of the test-time resize, both antialiased; training crops are always bilinear."""

CORE_REVISION = 3
"""Raised when a change of the shared loop changes results; part of every cell's identity."""

SCHEMA = 1
"""Version of the format of `result.json`."""

Value = bool | int | float | str | None
"""Type of a method setting's value."""


def require(condition: bool, message: str) -> None:
    """Raise `ConfigError(message)` unless `condition` holds."""
    if not condition:
        raise ConfigError(message)


class _Part:
    """Base class of the parts of a cell."""

    def identity(self) -> dict[str, Any]:
        """The fields of this part that can change a result."""
        return _hashed(self)

    @cached_property
    def canonical(self) -> str:
        """The identity as canonical JSON; cached, because thousands of cells share their parts."""
        return canonical(self.identity())


@dataclass(frozen=True, kw_only=True)
class BenchConfig(_Part):
    """A data set cut into tasks under a named protocol."""

    name: str
    """Name of the bench; also selects sections of method files."""
    source: str
    """Name of the loader in `janus.data` that reads the images."""
    scenario: str = "class"
    """`class`: new classes each task; `domain`: the same classes, a new domain each task."""
    classes: int
    """Number of classes in all."""
    tasks: int
    """Number of tasks the stream is cut into; or [50,10,10], the number of classes of each task."""
    split: str = "official"
    """Name of the train/test split, for the table's footnotes."""
    split_sha256: str | None = None
    """Hash of the data behind the split, verified when a run starts; null: not declared."""
    train_per_class: int | None = None
    """Keep only this many training images of each class (and domain); null keeps all."""
    test_per_class: int | None = field(default=None, metadata={"neutral": None})
    """Keep only this many test images of each class (and domain); null keeps all."""
    augment: str = "none"
    """Train-time augmentation, by name (see `janus.data.images.augment`)."""
    eval: str = "test"
    """`test`, or `validation`: a fixed 20 % of the training images takes the test set's place."""
    root: str | None = field(default=None, metadata={"identity": False})
    """Folder of the data set; null: bundled with the package."""
    cache: str | None = field(default=None, metadata={"identity": False})
    """Folder for the files that `janus.data` writes (arrays, checks), with a sub-folder for each
    bench and root; null: `.janus` inside the root."""
    crop_scale: float = field(default=0.08, metadata={"neutral": 0.08})
    """Smallest share of the image's area that a random-resized crop keeps; the largest is 1."""
    crop_ratio: float = field(default=4 / 3, metadata={"neutral": 4 / 3})
    """Largest width / height of a random-resized crop; the smallest is its inverse."""
    test_crop: float = field(default=1.0, metadata={"neutral": 1.0})
    """Share of the shorter side that the test-time centre crop keeps: 0.875 resizes to 256 for a
    crop of 224."""
    test_interpolation: str = field(default="bilinear", metadata={"neutral": "bilinear"})
    """`bilinear` or `bicubic`, for the test-time resize."""
    task_sizes: str | None = field(default=None, metadata={"neutral": None})
    """Classes of each task (of a domain stream: domains), e.g. 50,10,10; null: evenly. Typed as
    bench.tasks=[50,10,10], or as bench.first=50 (classes of the first task) and bench.increment=10
    (classes of each later one)."""
    stored_side: int | None = field(default=None, metadata={"neutral": None})
    """Shorter side to which larger images are reduced once, before training; null: never."""

    def __post_init__(self) -> None:
        check_name(self.name, "bench.name")
        require(
            self.scenario in ("class", "domain"),
            f"bench.scenario must be 'class' or 'domain', got {self.scenario!r}",
        )
        require(
            self.eval in ("test", "validation"),
            f"bench.eval must be 'test' or 'validation', got {self.eval!r}",
        )
        require(
            self.augment in AUGMENTATIONS,
            f"bench.augment must be one of {', '.join(AUGMENTATIONS)}, got {self.augment!r}",
        )
        require(self.classes >= 1, f"bench.classes must be at least 1, got {self.classes}")
        require(self.tasks >= 1, f"bench.tasks must be at least 1, got {self.tasks}")
        if self.scenario == "class":
            require(
                self.tasks <= self.classes,
                f"bench.tasks={self.tasks} is more than the {self.classes} classes "
                f"of {self.name}; choose at most {self.classes}",
            )
        if self.task_sizes is not None:
            sizes = parse_sizes(self.task_sizes)
            require(
                len(sizes) == self.tasks,
                f"bench.task_sizes={self.task_sizes} names {len(sizes)} tasks, bench.tasks says "
                f"{self.tasks}",
            )
        require(
            self.train_per_class is None or self.train_per_class >= 2,
            f"bench.train_per_class must be at least 2, got {self.train_per_class}",
        )
        require(
            self.test_per_class is None or self.test_per_class >= 1,
            f"bench.test_per_class must be at least 1, got {self.test_per_class}",
        )
        for name in ("crop_scale", "test_crop"):
            value = getattr(self, name)
            require(0 < value <= 1, f"bench.{name} must be in (0, 1], got {value}")
        require(self.crop_ratio >= 1, f"bench.crop_ratio must be >= 1, got {self.crop_ratio}")
        require(
            self.test_interpolation in INTERPOLATIONS,
            f"bench.test_interpolation must be one of {', '.join(INTERPOLATIONS)}, "
            f"got {self.test_interpolation!r}",
        )
        require(
            self.stored_side is None or self.stored_side >= 8,
            f"bench.stored_side must be at least 8, got {self.stored_side}",
        )

    @property
    def words(self) -> str:
        """The arguments of `python -m janus.data check` for these images and this cache."""
        where = {"bench.root": self.root, "bench.cache": self.cache}
        return shlex.join([self.name, *(f"{k}={v}" for k, v in where.items() if v is not None)])

    @property
    def cache_folder(self) -> Path:
        """Folder for the files that `janus.data` writes about this bench.

        A shared cache has one folder per root, so that images of different roots are never mixed.
        """
        root = Path(self.root or ".").expanduser()
        if self.cache is None:
            return root / ".janus"
        folder = Path(self.cache).expanduser() / self.name
        if self.root is None:
            return folder
        place = root.resolve()
        return folder / f"{place.name}-{hashlib.sha256(str(place).encode()).hexdigest()[:8]}"

    @property
    def split_file(self) -> Path:
        """File in which `python -m janus.data check` records the split's hash, classes, domains."""
        return self.cache_folder / f"split-{self.source}-{self.split}-{self.scenario}.json"

    @property
    def prepared_folder(self) -> Path:
        """Folder of the decoded arrays of this bench and split; it need not exist."""
        side = "" if self.stored_side is None else f"-{self.stored_side}"
        kind = "-domains" if self.scenario == "domain" else ""
        return self.cache_folder / f"{self.source}-{self.split}{kind}{side}"


@dataclass(frozen=True, kw_only=True)
class BackboneConfig(_Part):
    """A timm vision transformer, its weights, and the normalisation of its input."""

    name: str
    """Name of the backbone."""
    model: str
    """Full timm name, with its tag for hub weights."""
    model_kwargs: Mapping[str, Value] = field(default_factory=dict)
    """Arguments that change the architecture."""
    weights: str = "hub"
    """`bundled`, `hub`, `random`, or the path of a .safetensors, .pth, .pt or .bin file, which must
    give every tensor of the model (docs/weights.md)."""
    weights_sha256: str | None = None
    """Hash of the weight file, verified when a run starts; null: not declared."""
    image_size: int = 224
    """Side of the square input, in pixels."""
    channels: int = 3
    """Input channels; grey images are repeated when this is 3."""
    mean: float = 0.0
    """Subtracted from pixels in [0, 1]; [0.48,0.46,0.41] gives red, green and blue their own."""
    std: float = 1.0
    """Divides pixels after the mean is subtracted; [0.27,0.26,0.28] for each colour."""
    imagenet_stats: bool = field(default=False, metadata={"neutral": False})
    """Take ImageNet's mean and std of each colour (DINO, iBOT, MoCo-v3), not `mean` and `std`."""
    colour_stats: str | None = field(default=None, metadata={"neutral": None})
    """Mean and std of each colour, as typed for `mean` and `std`: 'r,g,b;r,g,b'; null: one for
    all."""

    def __post_init__(self) -> None:
        require(
            not self.imagenet_stats or (self.channels, self.mean, self.std) == (3, 0, 1),
            "backbone.imagenet_stats takes the place of backbone.mean and backbone.std, which must "
            "stay 0 and 1, and needs backbone.channels=3",
        )
        if self.colour_stats is not None:
            require(
                not self.imagenet_stats and (self.channels, self.mean, self.std) == (3, 0, 1),
                "a mean and std for each colour need backbone.channels=3, and neither "
                "backbone.imagenet_stats nor one mean or std for all; give "
                "backbone.mean=[r,g,b] and backbone.std=[r,g,b]",
            )
            parse_colours(self.colour_stats)
        require(self.std > 0, f"backbone.std must be positive, got {self.std}")
        require(self.image_size >= 8, f"backbone.image_size must be >= 8, got {self.image_size}")
        require(self.channels in (1, 3), f"backbone.channels must be 1 or 3, got {self.channels}")

    def identity(self) -> dict[str, Any]:
        """The identity, in which a weight file is represented by its hash, not by its path."""
        found = _hashed(self)
        if self.weights not in ("bundled", "hub", "random"):
            found["weights"] = "file"
        return found


@dataclass(frozen=True, kw_only=True)
class TrainConfig(_Part):
    """Training values that all methods of a comparison share."""

    epochs: int = 20
    """Passes over each task's training images."""
    first_epochs: int | None = None
    """Epochs of the first task; null: as for the other tasks."""
    batch_size: int = 128
    """Images per step; the last batch of an epoch may be smaller."""
    precision: str = "fp32"
    """`fp32`, or `bf16` autocast of the forward pass."""
    accumulate: int = field(default=1, metadata={"neutral": 1})
    """Number of parts into which a batch is split; they are passed one after another and their
    gradients are added. Needs less memory; the step is the same up to rounding."""
    clip: float | None = field(default=None, metadata={"neutral": None})
    """Largest norm of a step's gradients over all trained parameters, after rectification; null:
    no clipping."""
    warmup: float = field(default=0.0, metadata={"neutral": 0.0})
    """Epochs (may be a fraction) at the start of each task in which all learning rates rise
    linearly: over n steps by the factors 1/(n + 1) to n/(n + 1) of the schedule."""

    def __post_init__(self) -> None:
        require(self.epochs >= 1, f"train.epochs must be at least 1, got {self.epochs}")
        require(
            self.first_epochs is None or self.first_epochs >= 1,
            f"train.first_epochs must be at least 1, got {self.first_epochs}",
        )
        require(self.batch_size >= 1, f"train.batch_size must be >= 1, got {self.batch_size}")
        require(
            self.precision in ("fp32", "bf16"),
            f"train.precision must be 'fp32' or 'bf16', got {self.precision!r}",
        )
        require(self.accumulate >= 1, f"train.accumulate must be >= 1, got {self.accumulate}")
        require(
            self.accumulate <= self.batch_size,
            f"train.accumulate={self.accumulate} is more parts than a batch has images; choose at "
            f"most train.batch_size={self.batch_size}",
        )
        require(
            self.clip is None or 0 < self.clip < math.inf,
            f"train.clip must be above 0 (or null: no clipping), got {self.clip}",
        )
        shortest = min(self.epochs, self.first_epochs or self.epochs)
        require(
            0 <= self.warmup <= shortest,
            f"train.warmup must be between 0 and the {shortest} epochs of the shortest task, got "
            f"{self.warmup}",
        )


@dataclass(frozen=True, kw_only=True)
class MethodConfig(_Part):
    """A method by name, with every setting resolved and checked."""

    name: str
    """Name of the method: a file in `janus/conf/method`."""
    revision: int = 1
    """Raised when a change of the method's code changes its results."""
    values: Mapping[str, Value] = field(default_factory=dict)
    """Every setting of the method."""
    neutral: Mapping[str, Value] = field(default_factory=dict, metadata={"identity": False})
    """Settings added later, with the value that reproduces earlier results. A setting with this
    value is left out of the identity, so that old results stay valid."""
    revised: Mapping[str, Mapping[str, int]] = field(
        default_factory=dict, metadata={"identity": False}
    )
    """Values whose meaning changed, with the number of the new meaning: {schedule: {cosine: 2}}.
    The identity holds such a value with its number, `cosine@2`. Empty in cells made before the
    change, so their ids stay the same."""

    def identity(self) -> dict[str, Any]:
        """The identity, without settings that hold their neutral value."""
        found = _hashed(self)
        found["values"] = {
            name: self._marked(name, value)
            for name, value in self.values.items()
            if not (name in self.neutral and self.neutral[name] == value)
        }
        return found

    def _marked(self, name: str, value: Value) -> Value:
        """`value`, followed by the number of its meaning if that is not 1 (`cosine@2`)."""
        meanings = self.revised.get(name)
        if not meanings or not isinstance(value, str) or value not in meanings:
            return value
        return f"{value}@{meanings[value]}"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One planned run. Equal identities mean equal results."""

    bench: BenchConfig
    backbone: BackboneConfig
    method: MethodConfig
    train: TrainConfig
    order: str = "natural"
    """Order of the classes (or domains): `natural`; the seed number of a permutation; an order of
    other papers, `pilot1993` or `coda1` (with any number); or your own: [3,1,2,0], or @FILE with
    one class per line (see `janus.config.own_order`)."""
    seed: int = 0
    """Seed of everything random except the order."""
    own_order: str | None = None
    """The list behind an order of one's own, as compact JSON; `order` is then a name for it."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of the source of what is from outside of this project, by `method`, `bench` or
    `backbone` (see `janus.plugins`); empty for a cell that is all of this project's own."""

    def __post_init__(self) -> None:
        own = OWN.fullmatch(self.order) is not None
        require(
            own or NAMED.fullmatch(self.order) is not None,
            "order must be 'natural', a plain seed number >= 0, or a published one such as "
            f"'pilot1993' or 'coda1', got {self.order!r}",
        )
        require(
            self.order == order_name(self.own_order) if self.own_order is not None else not own,
            f"order {self.order!r} is not the name of its list",
        )
        require(self.seed >= 0, f"seed must be >= 0, got {self.seed}")

    def identity(self) -> dict[str, Any]:
        """Everything that can change the result, and nothing else (no device, paths, workers)."""
        parts = {name: getattr(self, name).identity() for name in _PARTS}
        own: dict[str, Any] = {} if self.own_order is None else {"own_order": self.own_order}
        own |= {"sources": dict(self.sources)} if self.sources else {}
        return {"core": CORE_REVISION, "order": self.order, "seed": self.seed} | own | parts

    @cached_property
    def id(self) -> str:
        """First 16 hex digits of the SHA-256 of the canonical identity."""
        texts = {name: getattr(self, name).canonical for name in _PARTS}
        texts |= {"core": str(CORE_REVISION), "seed": str(self.seed)}
        texts["order"] = json.dumps(self.order)
        if self.own_order is not None:
            texts["own_order"] = json.dumps(self.own_order)
        if self.sources:
            texts["sources"] = canonical(self.sources)
        text = ",".join(f'"{name}":{texts[name]}' for name in sorted(texts))
        return hashlib.sha256(f"{{{text}}}".encode()).hexdigest()[:16]

    @property
    def title(self) -> str:
        """Short name for people: 'glyphs janus order=3 seed=0'."""
        return f"{self.bench.name} {self.method.name} order={self.order} seed={self.seed}"


_PARTS = ("bench", "backbone", "method", "train")


def _hashed(part: Any) -> dict[str, Any]:
    """The fields of a config dataclass that belong to a cell's identity.

    A field added later is left out if it holds its `neutral` value, so that old results stay valid.
    """
    values = asdict(part)
    return {
        f.name: values[f.name]
        for f in fields(part)
        if f.metadata.get("identity", True)
        and not ("neutral" in f.metadata and f.metadata["neutral"] == values[f.name])
    }


def canonical(tree: Any) -> str:
    """JSON text that is equal for equal trees: sorted keys, no spaces, shortest floats.

    Raises ConfigError for NaN and infinities, which have no JSON form.
    """
    _refuse_non_finite(tree)
    return json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _refuse_non_finite(tree: Any) -> None:
    if isinstance(tree, float) and not math.isfinite(tree):
        raise ConfigError(f"{tree} cannot be stored: JSON has no such number")
    children = tree.values() if isinstance(tree, Mapping) else tree
    if isinstance(tree, Mapping | list | tuple):
        for child in children:
            _refuse_non_finite(child)


def cell_record(cell: Cell) -> dict[str, Any]:
    """The cell as plain data, from which `cell_from_dict` builds it again."""
    record = asdict(cell)
    if not cell.sources:  # records made before there was this field have no such key
        del record["sources"]
    return record


def cell_from_dict(record: Mapping[str, Any]) -> Cell:
    """Rebuild a cell from `cell_record(cell)`, as found in result files."""
    return Cell(
        bench=BenchConfig(**record["bench"]),
        backbone=BackboneConfig(**record["backbone"]),
        method=MethodConfig(**record["method"]),
        train=TrainConfig(**record["train"]),
        order=record["order"],
        seed=record["seed"],
        own_order=record.get("own_order"),
        sources=record.get("sources", {}),
    )
