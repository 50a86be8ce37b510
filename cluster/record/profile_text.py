"""How the values of a profile may be written: times, memory, typed GPUs, sbatch's own names.

Everything is read as text first: YAML alone would take 4:00:00 for the number 14400, and the
account 0123 for 83.
"""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from cluster.scheduler import slurm_commands
from janus.errors import ConfigError, suggest

GPU_FLAGS = ("gpus_per_node", "gpus_per_task", "gres")
"""Flags of sbatch that can ask for the GPUs of a task."""

FIELDS = {
    "time": "minutes",
    "mem": "mem_gb",
    "gpus_per_node": "gpus",
    "cpus_per_task": "cpus",
}
"""sbatch's long names, and the fields of the profile that say the same under another name."""

SAME = ("partition", "account", "qos", "constraint", "gpus")
"""Flags that are fields of the profile under their own name."""

NOT_YOURS = {
    "array": "profile.tasks and profile.chunk say how many tasks there are",
    "chdir": "tasks run in the submission's own folder",
    "error": "logs lie in STORE/cluster/SUBMISSION/jobs",
    "gpus_per_socket": "write profile.gpus=TYPE:NUMBER",
    "job_name": "status and cancel find jobs by their name, the submission's",
    "nodes": "a task runs on one node; profile.nodes is for mode=ray",
    "ntasks": "a task is one process; see profile.tasks and profile.cells_at_once",
    "ntasks_per_node": "a task is one process; see profile.tasks and profile.cells_at_once",
    "open_mode": "a requeued task goes on in the same log",
    "output": "logs lie in STORE/cluster/SUBMISSION/jobs",
    "parsable": "the answer of sbatch is read here",
    "quiet": "the answer of sbatch is read here",
    "signal": "write profile.warn_s=SECONDS before the time limit",
    "test_only": "to look at the script first, use --dry",
    "tres_per_node": "write profile.gpus=TYPE:NUMBER",
    "tres_per_task": "write profile.gpus=TYPE:NUMBER",
    "wait": "use: python -m cluster watch",
    "wrap": "shell lines before Python starts go into profile.setup",
}
"""Flags that would break what the project does with a job, and what to do instead."""

SHORT = {
    **{"A": "account", "C": "constraint", "G": "gpus", "J": "job-name", "L": "licenses"},
    **{"M": "clusters", "N": "nodes", "b": "begin", "c": "cpus-per-task", "d": "dependency"},
    **{"n": "ntasks", "p": "partition", "q": "qos", "t": "time", "w": "nodelist", "x": "exclude"},
}
"""sbatch's short names."""

TIME = "a whole number of minutes, or a time such as 4h, 04:00:00 or 2-00:00:00"
MEMORY = "a number of GB, or with its unit as in 16G or 64000M"
GPUS = "a whole number, or with the type as in a100:2"
_UNITS = {"d": 1440.0, "h": 60.0, "m": 1.0, "s": 1 / 60}
_AMOUNT = r"(\d+(?:\.\d+)?)\s*(days?|d|hours?|hrs?|hr?|minutes?|mins?|min|m|seconds?|secs?|s)\s*"
_CLOCK = re.compile(r"(\d+-)?\d+(:\d\d?){0,2}")
_GB = {"K": 1 / 1024**2, "M": 1 / 1024, "G": 1.0, "T": 1024.0}
LONGEST = 60
"""Most characters of a time, an amount of memory or a number of GPUs."""
_NULL = ("", "null", "~")


def read_texts(text: str, where: str) -> dict[str, Any]:
    """A mapping whose values are texts, lists and mappings of texts. Raises ConfigError."""
    try:
        root = yaml.compose(text, Loader=yaml.BaseLoader)
        if root is None:
            return {}
        if not isinstance(root, yaml.MappingNode):
            raise ConfigError(f"{where} must hold a mapping, such as `minutes: 30`")
        _check_node(root, where)
        for _, node in root.value:
            _check_node(node, where)
        return dict(yaml.load(text, Loader=yaml.BaseLoader))
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: {' '.join(str(error).split())}") from None
    except (RecursionError, ValueError):
        raise ConfigError(f"{where} is not valid YAML; write KEY: VALUE lines") from None


def _check_node(node: yaml.Node, where: str) -> None:
    """Refuse keys that stand there twice, and tags such as !!int, which would be passed over."""
    if node.tag.rpartition(":")[2] not in ("str", "seq", "map"):
        raise ConfigError(f"{where}: tags such as {node.tag!r} cannot be used here")
    keys = [key.value for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
    for key in keys:
        if not isinstance(key, str) or keys.count(key) > 1:
            raise ConfigError(f"{where}: {key!r} stands there twice, or is no name")


def read_profile_value(key: str, text: str) -> Any:
    """The value of `profile.KEY=TEXT`: only lists and mappings are YAML there."""
    if key not in ("setup", "flags"):
        return text
    return read_texts(f"{key}: {text}", f"cannot read 'profile.{key}={text}'")[key]


def layer(record: Mapping[str, Any], kinds: Mapping[str, str]) -> dict[str, Any]:
    """The fields that `record` sets, its flags included where a flag is a field by another name.

    `kinds`: the type of each field, as written in the profile. Raises ConfigError.
    """
    values: dict[str, Any] = {}
    for key, value in record.items():
        name = _name(key)
        name = FIELDS.get(name, name)
        if name not in kinds:
            raise ConfigError(f"unknown key profile.{key}.{suggest(str(key), kinds)}")
        found = _field(name, f"profile.{key}", kinds[name], value)
        for twice in sorted(found.keys() & values.keys()):
            raise ConfigError(f"profile.{key} says again what the profile says already: {twice}")
        values |= found
    if "flags" not in values:
        return values
    given: Mapping[str, Any] = values["flags"]
    flags: dict[str, Any] = {}
    for key, value in given.items():
        name = _flag(key, value)
        if name in flags:
            raise ConfigError(f"profile.flags.{key} stands there twice")
        where, field = f"profile.flags.{key}", FIELDS.get(name, name)
        if name == "gres":
            found, rest = _gres(where, value)
            values |= found
            flags |= {"gres": rest} if rest else {}
        elif name in FIELDS or name in SAME:
            values |= _field(field, where, kinds[field], value)
        elif name == "gpus_per_task":
            values |= _gpus(where, value) | {"gpus_by": name}
        elif name not in NOT_YOURS:
            flags[name] = value
    return values | {"flags": flags}


def _name(key: Any) -> str:
    return str(key).strip().lstrip("-").replace("-", "_")


def _flag(key: str, value: Any) -> str:
    """The flag's name with underscores. Raises ConfigError for one that cannot be used here."""
    name = _name(key)
    if len(name) == 1:
        hint = f": write {SHORT[name]}" if name in SHORT else ""
        raise ConfigError(f"profile.flags.{key}: flags go by their long name here{hint}")
    if not re.fullmatch(r"[a-z][a-z0-9_]+", name):
        raise ConfigError(f"profile.flags.{key} is no flag of sbatch: use its long name")
    one_task = name in ("nodes", "ntasks", "ntasks_per_node") and str(value) == "1"
    if name in NOT_YOURS and not one_task:
        raise ConfigError(f"profile.flags.{key} cannot be set: {NOT_YOURS[name]}")
    return name


def _field(name: str, where: str, kind: str, value: Any) -> dict[str, Any]:
    """The fields that `where` = `value` sets: `name`, and of GPUs perhaps their type."""
    if name == "gpus":
        return _gpus(where, value)
    if name == "minutes":
        return {name: _minutes(where, value)}
    if name == "mem_gb":
        return {name: _gigabytes(where, value)}
    if name == "flags":
        return {name: _flag_values(where, value)}
    return {name: _plain(where, kind, value)}


def _short(value: Any) -> str:
    """The value as text; '' for what is no number, or far too long for one."""
    text = "" if isinstance(value, bool) else str(value).strip()
    return text if len(text) <= LONGEST else ""


def _minutes(where: str, value: Any) -> int:
    text = _short(value)
    found = 0.0
    if re.fullmatch(f"(?:{_AMOUNT})+", text, re.IGNORECASE):
        parts = re.findall(_AMOUNT, text, re.IGNORECASE)
        found = sum(float(number) * _UNITS[unit[0].lower()] for number, unit in parts)
    elif _CLOCK.fullmatch(text):
        found = slurm_commands.minutes(text)
    elif re.fullmatch(r"-?\d+", text):
        found = int(text)
    else:
        raise ConfigError(f"{where} must be {TIME}, got {reprlib.repr(value)}")
    return math.ceil(found)


def _gigabytes(where: str, value: Any) -> float | None:
    if value is None or value in _NULL:
        return None
    text = _short(value)
    found = re.fullmatch(r"(\d+(?:\.\d*)?)\s*([KMGT])?(?:i?B)?", text, re.IGNORECASE)
    if not found:
        raise ConfigError(f"{where} must be {MEMORY}, got {reprlib.repr(value)}")
    unit = (found[2] or "G").upper()
    if not found[2] and not where.endswith("mem_gb") and float(found[1]):
        raise ConfigError(f"{where} needs a unit, as in 16G or 64000M, got {value!r}")
    return float(found[1]) * _GB[unit]


def _gpus(where: str, value: Any) -> dict[str, Any]:
    """{gpus, gpu_type} of 2, 'a100:2' or 'a100'."""
    text = _short(value)
    kind, _, number = text.rpartition(":")
    if re.fullmatch(r"-?\d+", text):
        return {"gpus": int(text)}
    if re.fullmatch(r"[\w.-]*[A-Za-z_][\w.-]*", text):
        return {"gpus": 1, "gpu_type": text}
    if number.isdecimal() and re.fullmatch(r"[\w.-]+", kind):
        return {"gpus": int(number), "gpu_type": kind}
    raise ConfigError(f"{where} must be {GPUS}, got {reprlib.repr(value)}")


def _gres(where: str, value: Any) -> tuple[dict[str, Any], str]:
    """The GPUs in a text like 'gpu:a100:1,tmpfs:100G', and what else it asks for."""
    parts = [part.strip() for part in str(value).split(",")]
    named = [part.replace("gres/", "").replace("gres:", "") for part in parts]
    gpus = [part for part in named if part.split(":")[0] == "gpu"]
    rest = ",".join(part for part in named if part not in gpus)
    if not gpus:
        return {}, rest
    if len(gpus) > 1:
        raise ConfigError(f"{where} asks for GPUs more than once; a task has GPUs of one kind")
    amount = gpus[0].partition(":")[2] or "1"
    return _gpus(where, amount) | {"gpus_by": "gres"}, rest


def _flag_values(where: str, value: Any) -> dict[str, Any]:
    """Flags with their values as texts, or true."""
    if value is None or value in _NULL:
        return {}
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where} must be a mapping, as {{reservation: mine}}, got {value!r}")
    flags: dict[str, Any] = {}
    for key, given in value.items():
        one = given
        if isinstance(given, list | tuple) and all(isinstance(g, str | int) for g in given):
            one = ",".join(map(str, given))
        if one is None or one in _NULL:
            raise ConfigError(f"{where}.{key} has no value; for a flag without one write true")
        if isinstance(one, Mapping | list | tuple) or not str(one).isprintable():
            raise ConfigError(f"{where}.{key} must be a text, got {given!r}")
        low = str(one).lower()
        flags[str(key)] = low == "true" if low in ("true", "false") else one
    return flags


def _plain(where: str, kind: str, value: Any) -> Any:
    """A value of the given type, which may have been written as text."""
    if kind.endswith("None") and (value is None or value in _NULL):
        return None
    base = kind.removesuffix(" | None")
    wrong = ConfigError(f"{where} must be {_described(base)}, got {value!r}")
    if base.startswith("tuple"):
        if value is None or value in _NULL:
            return ()
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise wrong
        if not all(isinstance(entry, str | int | float) for entry in value):
            raise ConfigError(f"{where}: put quotes around a line that has a colon, got {value!r}")
        return tuple(map(str, value))
    if base == "bool":
        words = {"true": True, "false": False, "yes": True, "no": False}
        if str(value).lower() not in words:
            raise wrong
        return words[str(value).lower()]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise wrong
    if base == "str":
        if not str(value).isprintable():
            raise ConfigError(f"{where} must be one line of text, got {value!r}")
        return str(value)
    try:
        number = int(value) if base == "int" and not isinstance(value, float) else float(value)
    except ValueError:
        raise wrong from None
    if not math.isfinite(number) or (base == "int" and isinstance(number, float)):
        raise wrong
    return number


def _described(kind: str) -> str:
    words = {"str": "a text", "bool": "true or false", "int": "a whole number", "float": "a number"}
    return words.get(kind, "a list, such as [module load cuda]")
