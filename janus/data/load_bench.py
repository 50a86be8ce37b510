"""Loads a bench: reads the data set, verifies its hash, and makes the split that a cell needs.

Each data set is read by a loader (`janus/data/benches`). The validation split and the caps on
images per class are made here, for all of them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from janus import plugins
from janus.config.cell import BenchConfig
from janus.config.task_sizes import sizes_of
from janus.data.benches import LOADERS
from janus.data.files import memory_mapped, stale
from janus.data.files.split import faults, refuse
from janus.data.images.images import Bench, Images
from janus.errors import ConfigError, DataError, suggest
from janus.keyed_random import numpy_generator

log = logging.getLogger(__name__)

VALIDATION_SHARE = 0.2


def load_images(config: BenchConfig) -> Bench:
    """The bench's images. Raises DataError if they are missing, damaged or another split."""
    bench = _prepared(config) or read_originals(config)
    _verify(config, bench)
    if config.eval == "validation":
        bench = _validation(bench, per_domain=config.scenario == "domain")
    _check(config, bench)
    if config.train_per_class is not None:
        bench = replace(bench, train=_capped(bench.train, config, config.train_per_class))
    if config.test_per_class is not None:
        bench = replace(bench, test=_capped(bench.test, config, config.test_per_class))
    return bench


def _prepared(config: BenchConfig) -> Bench | None:
    """The prepared arrays; None if there are none, or if they hold another split than declared."""
    found = memory_mapped.find_prepared(config)
    if found is not None and config.split_sha256 not in (None, found.sha256):
        log.warning(
            "the arrays in %s hold another split than %s declares; reading the original files. "
            "Write them again with: python -m janus.data prepare %s",
            config.prepared_folder,
            config.name,
            config.words,
        )
        return None
    listed = config.source != "folder"
    if found is not None and (told := stale.changes(config.prepared_folder, listed)):
        log.warning(
            "images of %s since they were prepared: %s. This run uses the arrays in %s, as they "
            "were. To use the images as they are now: python -m janus.data check %s, then prepare",
            config.name,
            told,
            config.prepared_folder,
            config.words,
        )
    return found


def read_originals(config: BenchConfig) -> Bench:
    """The whole bench from its original files, without regard to prepared arrays or hashes.

    Raises DataError for everything that would make a run fail later.
    """
    read_images = LOADERS.get(config.source) or plugins.loader(config.source)
    if read_images is None:
        raise DataError(f"unknown bench.source {config.source!r}.{suggest(config.source, LOADERS)}")
    bench: Bench = read_images(config)
    opened = {"train": bench.train, "test": bench.test}
    if config.eval == "validation":
        del opened["test"]
    refuse(_faults(config, bench, opened), f"bench {config.name}")
    return bench


def _verify(config: BenchConfig, bench: Bench) -> None:
    """Raise DataError if the data is not the declared split."""
    if config.split_sha256 == bench.sha256:
        return
    declare = f"bench.split_sha256={bench.sha256}"
    if config.eval == "validation":  # without the test files this hash may be wrong
        declare = "the hash that it prints, as bench.split_sha256"
    look = f"python -m janus.data check {config.words}"
    if config.split_sha256 is None:
        raise DataError(
            f"the split of bench {config.name} is not declared, so its results could be confused "
            f"with those of another split. Look at it with: {look}; then declare it: {declare}"
        )
    raise DataError(
        f"the data of {config.name} is not the declared split {config.split!r}: SHA-256 "
        f"{bench.sha256[:16]}…, declared {config.split_sha256[:16]}…. Restore the original "
        f"files; or check these with {look}, and declare them (results get other ids): {declare}"
    )


def _check(config: BenchConfig, bench: Bench) -> None:
    """Raise DataError naming everything that would make a run fail later."""
    problems = []
    if len(bench.class_names) != config.classes:
        problems.append(f"{len(bench.class_names)} classes, bench.classes={config.classes}")
    problems += _faults(config, bench, {"train": bench.train, "test": bench.test})
    if config.scenario == "domain" and config.tasks > len(bench.domain_names):
        problems.append(f"bench.tasks={config.tasks} but only {len(bench.domain_names)} domains")
    units = bench.domain_names if config.scenario == "domain" else bench.class_names
    try:
        sizes_of(config.tasks, config.task_sizes, len(units))
    except ConfigError as error:
        problems.append(str(error))
    refuse(problems, f"bench {config.name}")


def _faults(config: BenchConfig, bench: Bench, parts: Mapping[str, Images]) -> list[str]:
    """Problems as sentences: labels out of range, classes and domains without images."""
    problems = []
    for name, images in parts.items():
        apart = config.scenario == "domain" and not (bench.shared_test and name == "test")
        domains = bench.domain_names if apart else ()
        numbers = images.labels.numpy(), images.domains.numpy()
        problems += faults(name, *numbers, bench.class_names, domains)
    return problems


def _validation(bench: Bench, per_domain: bool) -> Bench:
    """The bench with a fixed 20 % of each class's (and domain's) training images as test set.

    As far as possible whole groups are held out, because the test set has other groups than the
    training set, too. The choice depends only on the data, not on a seed.
    """
    train = bench.train
    if not len(train):
        return bench
    ranks = numpy_generator("validation", bench.sha256).permutation(int(train.groups.max()) + 1)
    held = torch.zeros(len(train), dtype=torch.bool)
    domains = train.domains if per_domain else torch.zeros_like(train.domains)
    for label, domain in torch.stack([train.labels, domains], 1).unique(dim=0):
        members = ((train.labels == label) & (domains == domain)).nonzero()[:, 0]
        by_rank = np.argsort(ranks[train.groups[members].numpy()], kind="stable")
        count = max(1, round(VALIDATION_SHARE * len(members)))
        held[members[torch.from_numpy(by_rank[:count])]] = True
    return replace(
        bench,
        train=train.take((~held).nonzero()[:, 0]),
        test=train.take(held.nonzero()[:, 0]),
        shared_test=False,
    )


def _capped(images: Images, config: BenchConfig, count: int) -> Images:
    """At most `count` images of every class (and domain), the same ones in every run."""
    generator = numpy_generator("cap", config.name)
    shuffled = torch.from_numpy(generator.permutation(len(images)))
    kinds = images.labels
    if config.scenario == "domain":
        kinds = kinds * (int(images.domains.max()) + 1) + images.domains
    ordered, by_kind = kinds[shuffled].sort(stable=True)
    place = torch.arange(len(ordered)) - torch.searchsorted(ordered, ordered)
    return images.take(shuffled[by_kind[place < count]].sort().values)


__all__ = ["LOADERS", "Bench", "Images", "load_images", "read_originals"]
