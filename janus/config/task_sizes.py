"""Parses the number of classes (or domains) of each task from several ways to write it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from janus.errors import ConfigError

VIRTUAL = ("first", "increment")
"""Keys of a bench that users may type; they are converted to `task_sizes` and not stored."""


def even(units: int, tasks: int) -> list[int]:
    """Sizes of `tasks` tasks with `units` classes or domains in all; the first ones may have one
    more than the last."""
    least, more = divmod(units, tasks)
    return [least + (index < more) for index in range(tasks)]


def parse_sizes(text: str) -> list[int]:
    """The numbers in '50,10,10'. Raises ConfigError for anything else."""
    parts = [part.strip() for part in text.strip("[] ").split(",")]
    if not all(re.fullmatch(r"[1-9][0-9]{0,6}", part) for part in parts):
        raise ConfigError(
            f"bench.task_sizes must be whole numbers of at least 1, as in 50,10,10; got {text!r}"
        )
    return [int(part) for part in parts]


def with_task_sizes(values: Mapping[str, Any]) -> dict[str, Any]:
    """A bench's values with `tasks` and `task_sizes` filled in; other values are unchanged.

    Accepts `tasks: [20, 10, 10]`; or `first: 50` and `increment: 10`, where the last task gets the
    remaining classes; or `task_sizes` as text. Even sizes are left out, so that equal streams are
    equal cells. Raises ConfigError when the sizes do not add up to the number of classes, or when
    several ways are mixed.
    """
    found = dict(values)
    first, increment = (found.pop(key, None) for key in VIRTUAL)
    tasks, text = found.get("tasks"), found.get("task_sizes")
    given = [first is not None or increment is not None, isinstance(tasks, list), text is not None]
    if sum(given) > 1:
        raise ConfigError(
            "give the sizes of tasks in one way: bench.tasks=[20,10,10], or bench.first=20 with "
            "bench.increment=10"
        )
    domains = found.get("scenario") == "domain"
    if given[0]:
        if domains:
            raise ConfigError("bench.first is for classes; write bench.tasks=[2,1,1] for domains")
        sizes = _steps(first, increment, found.get("classes"))
    elif given[1]:
        sizes = parse_sizes(",".join(map(str, tasks)) if isinstance(tasks, list) else "")
    elif text is not None:
        sizes = parse_sizes(str(text))
    else:
        return found
    units = None if domains else found.get("classes")
    if units and sum(sizes) != units:
        raise ConfigError(
            f"tasks of {', '.join(map(str, sizes))} classes are {sum(sizes)} in all, but "
            f"{found.get('name', 'the bench')} has {units}; give sizes that add up to it"
        )
    alike = not domains and sizes == even(sum(sizes), len(sizes))
    return found | {
        "tasks": len(sizes),
        "task_sizes": None if alike else ",".join(map(str, sizes)),
    }


def _steps(first: Any, increment: Any, classes: Any) -> list[int]:
    """Task sizes: `first` classes, then `increment` each. Raises ConfigError for invalid values."""
    for name, value in (("first", first), ("increment", increment)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(
                f"bench.{name} must be a whole number of at least 1, got {value!r}; bench.first "
                "and bench.increment go together"
            )
    if not classes:
        raise ConfigError("bench.first needs the number of classes; give bench.classes")
    if first > classes:
        raise ConfigError(f"bench.first={first} is more than the {classes} classes of the bench")
    whole, rest = divmod(classes - first, increment)
    return [first, *[increment] * whole, *([rest] if rest else [])]


def sizes_of(tasks: int, task_sizes: str | None, units: int) -> Sequence[int]:
    """Classes (or domains) of each task. Raises ConfigError unless they add up to `units`."""
    if task_sizes is None:
        return even(units, tasks)
    sizes = parse_sizes(task_sizes)
    if sum(sizes) != units:
        raise ConfigError(
            f"bench.task_sizes={task_sizes} are {sum(sizes)} classes or domains in all, but the "
            f"images have {units}"
        )
    return sizes
