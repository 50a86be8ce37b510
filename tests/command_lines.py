"""Command lines as people type them, right and wrong, drawn from the real settings by a seed.

Every line knows what is wrong with it (`wrong`: the word that a message must name) and what an
accepted one must lead to (`typed`: the text that was typed for a key). `test_command_lines.py` runs
them.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from janus.config.compose import PARTS
from janus.config.execution import OPTIONS
from janus.config.method_spec import Setting, method_spec, spec_names
from janus.config.overrides import PATH_KEYS

METHODS = ("janus", "seqlora", "inflora", "ranpac", "l2p", "slca", "ncm")


@dataclass(frozen=True)
class Line:
    """One command line."""

    entry: str
    """Which program, as `test_command_lines.py` calls it."""
    words: tuple[str, ...]
    kind: str
    """What is odd about it; `good`: nothing, it must be accepted."""
    wrong: str = ""
    """The word that a refusal must name; empty: any."""
    typed: dict[str, str] = field(default_factory=dict)
    """{key: text}; an accepted line may drop none of them."""
    files: dict[str, bytes] = field(default_factory=dict)
    """Files that lie in the current folder."""


VALUES: dict[str, tuple[str, ...]] = {
    "wrong type": ("x", "1.5x", "true", "[1,2]", "{a:1}", "[[1]]", "'7'", '"a=b"'),
    "out of range": ("-1", "-0.5", "0", "1e9"),
    "absurd size": ("9" * 40, "1e400", "9" * 5000, "-" + "9" * 400),
    "no number": ("nan", "inf", "-inf", "NaN", ".nan"),
    "control characters": ("a\x1b[31mb", "a\nb", "\t", "\x7f", "a\rb", "a\u202eb", "\x01"),
    "not UTF-8": (os.fsdecode(b"caf\xe9"), os.fsdecode(b"\xff")),
    "empty": ("", "''", "[]", "{}", "null", " "),
    "interpolation": ("${oc.env:HOME}", "${x}", "${method.rank}", "${", "$x", "${oc.env:NOPE}"),
    "glob or interval": ("glob(*)", "interval(0,1)", "range(1,3)", "choice(1,2)", "sort(3,1)"),
    "function": (
        "int(3)",
        "float(3)",
        "str(3)",
        "tag(a,1)",
        "extend_list(1)",
        "shuffle(1,2)",
        "f(",
    ),
    "YAML tag": ("!!python/name:os.system", "&a [*a]", "*a", "!!int 3", "? x", "- 1"),
    "brackets": ("[", "]", "(1", "{a", "a,b,", ",", "1,,2", "a:b:c", "#1", "a=b=c"),
}
"""Odd values by kind. Some are right for some keys: then the cell must show them."""

KEY_SHAPES = (
    "~{}",
    "+{}=1",
    "++{}=1",
    "{}@a=1",
    "{}",
    "={}",
    ".{}=1",
    "{}.x=1",
    "{}[0]=1",
    "-{}=1",
)
"""Odd ways to write a key."""


def keys_of(method: str) -> dict[str, Setting | None]:
    """Every dotted key of a cell; the declaration where the method's file has one."""
    found: dict[str, Setting | None] = {
        f"{part}.{one.name}": None for part, cls in PARTS.items() for one in fields(cls)
    }
    settings = method_spec(method).settings
    return found | {f"method.{name}": setting for name, setting in settings.items()}


def misspelt(word: str, rng: random.Random) -> str:
    """The word with two neighbours swapped, a letter left out, or one doubled."""
    at = rng.randrange(1, len(word) - 1)
    return rng.choice(
        (
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
        )
    )


def good_value(setting: Setting, rng: random.Random) -> str:
    """A value that the declaration allows."""
    if setting.choices:
        return str(rng.choice(setting.choices)).lower()
    default = setting.default
    if isinstance(default, bool):
        return rng.choice(("true", "false"))
    if isinstance(default, int | float):
        low = setting.min if setting.min is not None else setting.above
        high = setting.max if setting.max is not None else setting.below
        if isinstance(default, int):
            start = int(low or 0) + (setting.above is not None)
            return str(start + rng.randrange(1, 4) if high is None else start)
        low, high = low or 0.0, 1.0 if high is None else high
        return f"{low + (high - low) * rng.choice((0.25, 0.5, 0.75)):.6g}"
    return "null" if default is None else str(default)


GOOD = {
    "train.epochs": ("1", "3", "2.0"),
    "train.batch_size": ("1", "16"),
    "bench.tasks": ("2", "5", "[20,30,50]"),
    "bench.train_per_class": ("3", "7"),
    "bench.test_per_class": ("2", "null"),
    "order": ("natural", "0", "17", "pilot1993"),
    "seed": ("0", "3", "100000"),
    "eval": ("test", "validation"),
}
"""Values that every cell may have."""


def cell_words(rng: random.Random) -> tuple[list[str], str, str, dict[str, str], str]:
    """(words, kind, wrong word, typed, method) of one cell's KEY=VALUE words."""
    method = rng.choice(METHODS)
    words = [f"method={method}", "backbone=toy"]
    keys = keys_of(method)
    kind = rng.choice(["good", "good", "misspelt key", "misspelt name", "key", "twice", *VALUES])
    key = rng.choice([*keys, *(k for k in keys if k.startswith("method.")), "order", "seed"])
    if kind == "good":
        typed = {k: rng.choice(v) for k, v in GOOD.items() if rng.random() < 0.4}
        free = [k for k, s in keys.items() if s is not None and s.default is not None]
        for name in rng.sample(free, k=min(2, len(free))):
            setting = keys[name]
            assert setting is not None
            if not setting.epochs and name != "method.schedule":
                typed[name] = good_value(setting, rng)
        return [*words, *(f"{k}={v}" for k, v in typed.items())], kind, "", typed, method
    if kind == "misspelt key":
        key = misspelt(key, rng)
        if key in keys or key in ("order", "seed"):
            key += "x"
        return [*words, f"{key}=1"], kind, key, {key: "1"}, method
    if kind == "misspelt name":
        group = rng.choice(("method", "bench", "backbone"))
        name = misspelt(rng.choice(spec_names(group)), rng) + "q"
        words = [w for w in words if not w.startswith(group)]
        return [*words, f"{group}={name}"], kind, name, {group: name}, method
    if kind == "key":
        word = rng.choice(KEY_SHAPES).format(key)
        plain = word.lstrip("+").partition("=")[0]  # what adds a key also sets it
        typed = {plain: "1"} if plain == key and "=" in word else {word: ""}
        return [*words, word], kind, word.strip("~+=").partition("=")[0], typed, method
    if kind == "twice":
        return [*words, "seed=1", "seed=2"], kind, "seed", {"seed": "2"}, method
    value = rng.choice(VALUES[kind])
    return [*words, f"{key}={value}"], kind, key, {key: value}, method


def cells(count: int, rng: random.Random) -> Iterator[Line]:
    """Command lines of `python -m janus --dry`."""
    for _ in range(count):
        words, kind, wrong, typed, _ = cell_words(rng)
        if rng.random() < 0.2:
            key = rng.choice(list(OPTIONS))
            kind = rng.choice(["out of range", *VALUES])
            wrong, value = key, rng.choice(VALUES[kind])
            words, typed = ["method=ncm", "backbone=toy", f"{key}={value}"], {key: value}
        yield Line("janus", ("--dry", *words), kind, wrong, typed)


SWEEP_VALUES = {
    "orders": ("2", "[0,5]", "natural", "0-3"),
    "seeds": ("2", "[0,7]", "0-2"),
    "workers": ("1", "3"),
    "device": ("cpu", "auto"),
    "store": ("other", "a b", "für", "x=1,(2)"),
    "tracker": ("none",),
    "keep": ("final", "none"),
    "scale": ("tiny",),
    "protocol": ("unified",),
    "rows": ("[nope]", "null"),
}


def sweep_words(rng: random.Random) -> tuple[list[str], str, str, dict[str, str]]:
    """(words after the sweep's name, kind, wrong word, typed)."""
    if rng.random() < 0.6:
        words, kind, wrong, typed, method = cell_words(rng)
        words = [f"methods=[{method}]", *(w for w in words if not w.startswith("method="))]
        words = [w.replace("seed=", "seeds=", 1) if w.startswith("seed=") else w for w in words]
        words = [w.replace("order=", "orders=", 1) if w.startswith("order=") else w for w in words]
        renamed = {"seed": "seeds", "order": "orders"}
        typed = {renamed.get(key, key): value for key, value in typed.items()}
        if "method" in typed:  # a misspelt method
            words = [f"methods=[{wrong}]", "backbone=toy"]
            typed = {"methods": wrong}
        if kind == "good" and "orders" in typed:
            typed["orders"] = f"[{typed['orders']}]"
            words = [w for w in words if not w.startswith("orders=")]
            words.append(f"orders={typed['orders']}")
        if kind == "good" and "seeds" in typed:
            words = [w for w in words if not w.startswith("seeds=")]
            words.append("seeds=2")
            typed["seeds"] = "2"
        return words, kind, renamed.get(wrong, wrong), typed
    words = ["methods=[ncm]", "backbone=toy"]
    key = rng.choice(list(SWEEP_VALUES))
    kind = rng.choice(("good", "misspelt key", "twice", *VALUES))
    if kind == "good" and key != "rows":
        value = rng.choice(SWEEP_VALUES[key])
        return [*words, f"{key}={value}"], kind, "", {key: value}
    if kind == "misspelt key":
        wrong = misspelt(key, rng) + "q"
        return [*words, f"{wrong}=1"], kind, wrong, {wrong: "1"}
    if kind == "twice":
        first, second = ("4", "8") if rng.random() < 0.5 else ("1", "2")
        key = rng.choice(("train.epochs", "bench.tasks", "orders", "seeds", "workers"))
        return [*words, f"{key}={first}", f"{key}={second}"], kind, key, {key: second}
    kind = "wrong type" if kind == "good" else kind
    value = rng.choice(VALUES[kind])
    return [*words, f"{key}={value}"], kind, key, {key: value}


SEARCHES = {"search": "smoke_search", "choose": "renditions_tuning"}
"""A sweep that the action takes."""


def sweeps(count: int, rng: random.Random) -> Iterator[Line]:
    """Command lines of `python -m sweeps` with a shipped sweep."""
    actions = ("plan", "plan", "run", "status", "search", "choose", "sync")
    for number in range(count):
        action = rng.choice(actions)
        name = SEARCHES.get(action, "smoke")
        words, kind, wrong, typed = sweep_words(rng)
        if number % 12 == 0:
            name, kind = misspelt(name, rng) + "q", "misspelt name"
            wrong, typed = name, {"": name}
        if number % 25 == 1:
            action = misspelt(action, rng) + "q"
            kind, wrong, typed = "misspelt name", action, {"": action}
        if action in ("search", "choose"):  # these files set methods and rows themselves
            words = [word for word in words if not word.startswith("methods=")]
            kind, wrong = "any", ""
        if action in ("sync", "status") and kind == "good":
            kind = "any"  # no such sweep was started
        yield Line("sweeps", (action, name, *words), kind, wrong, typed)


FILES: dict[str, bytes] = {
    "unknown method in variants": b"methods: [janus]\nvariants: {jnaus: {a: {rank: 2}}}\n",
    "unknown setting in variants": b"methods: [janus]\nvariants: {janus: {a: {rnak: 2}}}\n",
    "unknown key": b"methods: [janus]\nordrs: 3\n",
    "seed under fixed": b"methods: [janus]\nfixed: {seed: 3}\n",
    "order under grid": b"methods: [janus]\ngrid: {order: [1, 2]}\n",
    "bench under fixed": b"methods: [janus]\nfixed: {bench: fashion}\n",
    "empty grid": b"methods: [janus]\ngrid: {method.rank: []}\n",
    "empty methods": b"methods: []\n",
    "empty variants": b"methods: [janus]\nvariants: {janus: {}}\n",
    "empty file": b"",
    "number as a key": b"methods: [janus]\ngrid: {1: [2]}\n",
    "null as a key": b"methods: [janus]\nfixed: {~: 2}\n",
    "list at the top": b"- methods\n",
    "text at the top": b"janus\n",
    "latin-1": "methods: [janus]  # für\n".encode("latin-1"),
    "UTF-16": "methods: [janus]\n".encode("utf-16"),
    "NUL": b"methods: [janus]\0\n",
    "escape": b'methods: [janus]\nvariants: {janus: {"a\\e[31m": {rank: 2}}}\n',
    "deep": b"methods: " + b"[" * 3000 + b"]" * 3000,
    "alias bomb": b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(
        b"%c: &%c [%s]\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 9)) for c in range(98, 107)
    ),
    "tag": b"methods: !!python/object/apply:os.system ['true']\n",
    "interpolation": b"methods: [janus]\nfixed: {train.epochs: '${oc.env:NOPE_NOT_SET}'}\n",
    "own interpolation": b"methods: [janus]\nseeds: ${orders}\norders: ${seeds}\n",
    "duplicate key": b"methods: [janus]\norders: 1\norders: 2\n",
    "huge number": b"methods: [janus]\norders: " + b"9" * 5000 + b"\n",
    "seeds without end": b"methods: [janus]\nseeds: 1000000000\n",
    "a span without end": b"methods: [janus]\nseeds: 0-999999999\n",
    "a grid without end": b"methods: [janus]\norders: 50000\nseeds: 50000\n",
    "methods is a mapping": b"methods: {janus: 1}\n",
    "methods is a number": b"methods: 7\n",
    "orders is a mapping": b"methods: [janus]\norders: {a: 1}\n",
    "orders null in a list": b"methods: [janus]\norders: [null]\n",
    "not YAML": b"methods: [janus\n",
    "tabs": b"methods:\n\t- janus\n",
    "defaults of Hydra": b"defaults: [nope]\nmethods: [janus]\n",
    "grid is a list": b"methods: [janus]\ngrid: [method.rank]\n",
    "grid of mappings": b"methods: [janus]\ngrid: {method.rank: [{a: 1}]}\n",
    "variants is a list": b"methods: [janus]\nvariants: [janus]\n",
    "a date": b"methods: [janus]\nseeds: [2024-01-01]\n",
    "an octal": b"methods: [janus]\nfixed: {train.epochs: 0o17}\n",
    "blocks of numbers": b"methods: [janus]\nblocks: [1, 2]\n",
    "nan": b"methods: [janus]\nfixed: {method.lr: .nan}\n",
    "tuned_on is a text": b"methods: [janus]\ntuned_on: x\n",
    "search is a text": b"methods: [janus]\nsearch: x\n",
}
"""Sweep files, each wrong in its own way."""


def sweep_files(rng: random.Random) -> Iterator[Line]:
    """Each wrong file under `plan`, and one more action."""
    for kind, content in FILES.items():
        for action in ("plan", rng.choice(("run", "status", "sync", "search"))):
            yield Line(
                "sweeps", (action, "mine.yaml"), f"file: {kind}", files={"mine.yaml": content}
            )
    for name in (
        "..",
        ".",
        "/",
        "mine.yaml/",
        "nope.yaml",
        "conf/../mine.yaml",
        "~/x.yaml",
        "*.yaml",
    ):
        yield Line("sweeps", ("plan", name), "path")
    for name in ("a b.yaml", "ü.yaml", "-x.yaml", "a\nb.yaml", "a;b.yaml", "..yaml"):
        content = b"methods: [ncm]\nfixed: {backbone: toy}\n"
        yield Line("sweeps", ("plan", name), "path", files={name: content})


STORE_WORDS = (
    ("merge",),
    ("merge", "nope"),
    ("merge", "runs"),
    ("merge", "runs", "store=runs"),
    ("merge", "runs", "store=new"),
    ("merge", "runs", "stroe=new"),
    ("merge", "runs", "store="),
    ("merge", "runs", "store=a", "store=b"),
    ("merge", "f.txt", "store=new"),
    ("merge", ""),
    ("merge", os.fsdecode(b"\xff")),
    ("merge", "a\x1b[31mb"),
    ("merge", "runs", "--dry"),
    ("export",),
    ("export", "out"),
    ("export", "out", "--results-only"),
    ("export", "runs"),
    ("export", "out", "--results-only", "sweep=nope"),
    ("export", "out", "sweep=../x"),
    ("export", "out", "--results-only", "sweep=../../x"),
    ("export", "f.txt", "--results-only"),
    ("export", "runs", "--results-only"),
    ("export", "out", "--results"),
    ("export", "a", "b"),
    ("gc",),
    ("gc", "store=nope"),
    ("gc", "store=runs", "dry=true"),
    ("gc", "dry=maybe"),
    ("gc", "keep=all"),
    ("gc", "features=x"),
    ("gc", "runs"),
    ("gc", "store=f.txt"),
    ("gc", "dry="),
    ("gc", "dry=true", "dry=false"),
    ("gc", "store="),
    ("gc", "keep=final", "kep=final"),
    ("gc", "-n"),
    ("gc", "--dry"),
    ("gc", "store=" + "x" * 5000),
    ("merge", "x" * 5000),
    ("status",),
    (),
    ("--help",),
    ("merge", "--help"),
    ("plan", "smoke", "--dry"),
    ("plan", "smoke", "x"),
    ("status", "smoke", "store=nope"),
    ("status", "nope"),
    ("status", "../x"),
    ("status", ""),
    ("status", "a\x1b[31mb", "store=runs"),
    ("status", "fake", "store=runs"),
    ("plan", "fake"),
    ("status", "smoke", "store=f.txt"),
    ("run", "smoke", "store=f.txt"),
    ("plan", "smoke", "store=f.txt/x"),
    ("sync", "smoke"),
    ("dashboard", "smoke"),
    ("search", "smoke"),
    ("run", "renditions_tuning"),
)
"""Words after `python -m sweeps` that concern stores, or none."""

PROFILES: dict[str, bytes] = {
    "list.yaml": b"- 1\n",
    "latin.yaml": "partition: für\n".encode("latin-1"),
    "empty.yaml": b"",
    "deep.yaml": b"[" * 3000,
    "tag.yaml": b"setup: !!python/name:os.system\n",
    "half.yaml": b"a: [",
    "unknown.yaml": b"partitoin: x\n",
    "type.yaml": b"minutes: [1]\n",
    "bomb.yaml": FILES["alias bomb"],
    "null.yaml": b"minutes: null\n",
    "negative.yaml": b"minutes: -5\n",
    "keys.yaml": b"1: 2\n",
}

PROFILE_WORDS = (
    "profile.minutes=30",
    "profile.minutes=04:00:00",
    "profile.minutes=x",
    "profile.minutes=-1",
    "profile.minutes=",
    "profile.minutes=1e9",
    "profile.minutes=[",
    "profile.minutez=3",
    "profile.=3",
    "profile.setup=!!python/name:os.system",
    "profile.setup=x",
    "profile.setup=[a,b]",
    "profile=nope",
    "profile=",
    "profile=.",
    "profile=/",
    "profile.gpus=a100:1",
    "profile.gpus=-1",
    "profile.cpus=nan",
    "profile.flags=x",
    "profile.flags={a: 1}",
    "profile.device=tpu",
    "profile.device=cuda",
    "profile.mem_gb=inf",
    "profile.mem_gb=nan",
    "profile.mem_gb=-1",
    "profile.tasks=0",
    "profile.cells_at_once=0",
    "profile.warn_s=99999",
    "profile.lose_at_most_s=nan",
    "profile.partition=a\nb",
    "profile.partition=a\x1b[31m",
    "profile.account=" + os.fsdecode(b"\xff"),
    "profile.minutes=" + "9" * 5000,
    "profile.stage=maybe",
    "profile.python=null",
    "cluster=locl",
    "cluster=",
    "mode=aray",
    "mode=ray",
    "--drry",
    "--failed",
    "x",
    "profile.tasks=3",
    "profile.cpus=2",
)


def cluster(count: int, rng: random.Random) -> Iterator[Line]:
    """Command lines of `python -m cluster`, all without SLURM."""
    base = ("submit", "smoke", "--dry", "cluster=local", "backbone=toy", "methods=[ncm]")
    for word in PROFILE_WORDS:
        good = word in ("profile.minutes=30", "profile.tasks=3", "profile.cpus=2", "--failed")
        key, _, value = word.partition("=")
        typed = {key: value} if word.startswith("profile.") else {}
        kind = "good" if good else "profile"
        yield Line("cluster", (*base, word), kind, "" if good else key, typed)
    for name, content in PROFILES.items():
        words = (*base, f"profile={name}")
        yield Line("cluster", words, "profile file", files={name: content})
    for words in (
        (),
        ("status",),
        ("status", "smoke"),
        ("status", "nope"),
        ("status", "../x"),
        ("logs", "smoke"),
        ("logs", "smoke", "ffff"),
        ("cancel", "smoke"),
        ("cancel", "nope", "store=nope"),
        ("sbmit", "smoke"),
        ("watch", "nope"),
        ("status", "smoke", "store="),
        ("status", "smoke", "store=f.txt"),
        ("status", "a\x1b[31mb"),
        ("status", "smoke", "store=a", "store=b"),
        ("resubmit", "nope"),
        ("status", os.fsdecode(b"\xff")),
        ("status", ""),
        ("logs", "smoke", "../x"),
        ("submit", "smoke", "dry"),
    ):
        yield Line("cluster", words, "words", files={"f.txt": b"x"})
    for _ in range(count):
        words, kind, wrong, typed = sweep_words(rng)
        whole = ("submit", "smoke", "--dry", "cluster=local", *words)
        yield Line("cluster", whole, kind, wrong, typed)


ANALYSIS_WORDS = (
    (),
    ("--store", "nope"),
    ("--store", ""),
    ("--store", "f.txt"),
    ("--stroe", "runs"),
    ("--store",),
    ("--bench", "nope"),
    ("--bench", "glyphss"),
    ("--bench", ""),
    ("--methods", "jnaus"),
    ("--methods", ""),
    ("--methods", "janus,janus"),
    ("--methods", "janus[rank=4"),
    ("--methods", ","),
    ("--methods", os.fsdecode(b"\xff")),
    ("--methods", "a\x1b[31mb"),
    ("--where", "train.epochs"),
    ("--where", "train.epochs="),
    ("--where", "train.epocs=5"),
    ("--where", "=5"),
    ("--where", "a=b=c"),
    ("--where", "train.epochs=nan"),
    ("--where", "train.epochs=" + "9" * 5000),
    ("--where", ""),
    ("--where", "${x}=1"),
    ("--eval", "tets"),
    ("--reference", "jnaus"),
    ("--reference", ""),
    ("--sweep", "nope"),
    ("--sweep", "../x"),
    ("--sweep", ""),
    ("--sweep", "a\nb"),
    ("--sweep", "fake"),
    ("--expect", "nope.json"),
    ("--expect", "f.txt"),
    ("--expect", "list.json"),
    ("--expect", "."),
    ("--expect", "deep.json"),
    ("--allow", "sede"),
    ("--allow", "seeds"),
    ("--allow", ""),
    ("--endpoint", "acx"),
    ("--endpoint", ""),
    ("--endpoint", "acc,maa"),
    ("--correction", "holmm"),
    ("extra",),
    ("--store", "runs", "--store", "runs"),
    ("--store", "x" * 5000),
)
"""Words of compare.py, report.py and paper.py; `runs` is a store of four finished cells."""

COMPARE_WORDS = (
    ("--columns", "axc"),
    ("--columns", ""),
    ("--columns", "all"),
    ("--columns", "acc,,maa"),
    ("--format", "latx"),
    ("--format", "json"),
    ("--format", "long", "--details"),
    ("--spread", "sd"),
    ("--wandb", "nope/x"),
    ("--wandb", ""),
    ("--wandb", "."),
    ("--published", "--store", "nope"),
    ("--images",),
    ("--details",),
    ("--details", "--details"),
    ("--help",),
)

OUT_WORDS = (
    ("--out",),
    ("--out", "f.txt/x"),
    ("--out", "x" * 5000),
)


def analysis() -> Iterator[Line]:
    """Command lines of the three programs that read stores, and of docs.figures."""
    files = {"f.txt": b"x", "list.json": b'[1, "x"]', "deep.json": b"[" * 100_000}
    for words in (*ANALYSIS_WORDS, *COMPARE_WORDS):
        yield Line("compare", words, "analysis", files=files)
    for words in (*ANALYSIS_WORDS[1::2], *OUT_WORDS, ("--runs", "x"), ("--runs", "-1")):
        yield Line("report", words, "analysis", files=files)
    for words in (
        ("--sttore", "x"),
        *OUT_WORDS,
        ("--published-only", "--bench", "nope", "--out", "f.txt"),
    ):
        yield Line("paper", words, "analysis", files=files)
    for words in (
        ("--store", "nope"),
        ("--stor", "runs"),
        ("--unpack", "f.txt"),
        ("--unpack", "f.txt/x"),
        ("x",),
        ("--check", "x"),
        ("--store", "f.txt"),
        ("--help",),
        ("--store",),
    ):
        yield Line("docs", words, "analysis", files=files)


def data() -> Iterator[Line]:
    """Command lines of `python -m janus.data` and `python -m janus.weights`."""
    roots = (
        "bench.root=nope",
        "bench.root=f.txt",
        "bench.root=",
        "bench.root=empty",
        "bench.root=~nobody/x",
        "bench.rot=x",
        "bench.cache=f.txt",
        "bench.name=../x",
        "bench.name=a\x1bb",
        "train.epochs=3",
        "bench.root=" + os.fsdecode(b"\xff"),
        "bench.root=" + "x" * 5000,
        "bench.tasks=nan",
        "bench.classes=-1",
        "bench.classes=x",
        "x",
        "bench.root",
        "~bench.root",
        "bench.root=glob(*)",
        "bench.train_per_class=interval(0,1)",
    )
    for command in ("check", "prepare", "fetch"):
        for word in roots:
            files = {"f.txt": b"x", "empty/x.txt": b"x"}
            words = (command, "folder", word)
            yield Line("data", words, "data", word.partition("=")[0].strip("~"), files=files)
    for words in (
        (),
        ("list",),
        ("list", "x"),
        ("chek", "glyphs"),
        ("check",),
        ("check", "glyph"),
        ("prepare", "glyphs"),
        ("fetch", "nope"),
        ("check", ""),
        ("check", "../x"),
        ("check", "a\x1b[31mb"),
        ("--help",),
    ):
        yield Line("data", words, "data")
    files = {
        "f.txt": b"x",
        "empty.safetensors": b"",
        "x.npz": b"PK",
        "x.pth": b"\x80\x02",
        "deep.safetensors": b"\xff\xff\xff\xff\xff\xff\xff\x7f{}",
        "list.safetensors": b"\x02\0\0\0\0\0\0\0[]",
    }
    for words in (
        (),
        ("list",),
        ("fetch",),
        ("chek", "x"),
        ("check", "f.txt"),
        ("check", "f.txt", "--model", "toy"),
        ("check", "empty.safetensors", "--model", "toy"),
        ("check", "deep.safetensors", "--model", "toy"),
        ("check", "list.safetensors", "--model", "toy"),
        ("check", "nope.pth", "--model", "toy"),
        ("check", ".", "--model", "toy"),
        ("check", "x.pth", "--model", "toy"),
        ("check", "", "--model", "toy"),
        ("check", "x.pth", "--model", "tooy"),
        ("check", "x.pth", "--model", "a\x1b[31mb"),
        ("check", os.fsdecode(b"\xff.pth"), "--model", "toy"),
        ("convert", "x.npz", "out.safetensors"),
        ("convert", "x.pth", "out.safetensors"),
        ("convert", "nope", "out.safetensors"),
        ("convert", "x.pth", "out.bin"),
        ("convert", "x.pth"),
        ("convert", "x.pth", "f.txt/out.safetensors"),
        ("audit",),
        ("audit", "nope"),
        ("audit", "f.txt"),
        ("audit", "runs", "x"),
        ("convert", "f.txt", "out.safetensors", "--strip"),
        ("--help",),
    ):
        yield Line("weights", words, "weights", files=files)


def single(rng: random.Random) -> Iterator[Line]:
    """`python -m janus` where no cell is composed, or its file is missing."""
    for words in (
        ("--help",),
        ("--list", "methods"),
        ("--list", "method"),
        ("--list",),
        ("--hlep",),
        ("--dry", "x"),
        ("--dry", ""),
        ("--dry", "--dry"),
        ("-x",),
        ("--help", "method=jnaus"),
        ("--help", "method=l2p"),
        ("--dry", "backbone.weights=nope.safetensors"),
        ("--dry", "backbone.weights=f.txt"),
        ("--dry", "backbone.weights=."),
        ("--dry", "backbone.weights=" + "x" * 5000),
        ("--dry", "bench=folder"),
        ("--dry", "bench=folder", "bench.root=f.txt"),
        ("backbone=vit_b16_in21k",),
        ("--dry", "order=[1,2]"),
        ("--dry", "order=[0,0]"),
        ("--dry", "order=@nope"),
        ("--dry", "order=@f.txt"),
        ("--dry", "order=@."),
        ("--dry", "order=[" + ",".join(map(str, range(100))) + "]"),
        ("--dry", "bench.first=50", "bench.increment=10"),
        ("--dry", "bench.first=101"),
        ("--dry", "bench.increment=0"),
        ("--dry", "bench.tasks=[50,60]"),
        ("--dry", "bench.tasks=[]"),
        ("--dry", "backbone.mean=[0.5,0.5]"),
        ("--dry", "backbone.mean=x"),
        ("--dry", "backbone.std=[0,0,0]"),
        ("--dry", "backbone.image_size=100000"),
        ("--dry", "train.batch_size=" + "9" * 19),
    ):
        yield Line("janus", words, "words", files={"f.txt": b"x"})


def make(count: int) -> Iterator[Line]:
    """make as typed; each starts processes of its own."""
    lines: Sequence[tuple[str, ...]] = (
        ("sweep", "METHOD=janus"),
        ("sweep", "DRY=1", "METHODS=jnaus"),
        ("nope",),
        ("compare", "STORE=nope"),
        ("sweep", "DRY=1", "METHODS=ncm", "ORDERS=1", "ARGS=backbone=toy"),
        ("sweep", "DRY=1", "SEEDS=x"),
        ("submit", "DRY=1", "ARGS=cluster=local backbone=toy", "METHODS=ncm"),
        ("compare", "SWEEP=nope"),
        ("report", "ARGS=--nope"),
        ("sweep", "DRY=1", "STORE="),
        ("docs", "ARGS=--store nope"),
    )
    for words in lines[:count]:
        good = "ARGS=backbone=toy" in words
        yield Line("make", words, "good" if good else "make")


def draw(seed: int = 0) -> list[Line]:
    """All command lines that run inside the test's own process."""
    rng = random.Random(seed)
    files = {"f.txt": b"x"}
    return [
        *cells(190, rng),
        *single(rng),
        *sweeps(170, rng),
        *sweep_files(rng),
        *(Line("sweeps", words, "stores", files=files) for words in STORE_WORDS),
        *cluster(30, rng),
        *analysis(),
        *data(),
    ]


def prepare(folder: Path, line: Line) -> None:
    """Write the files of a line below `folder`."""
    for name, content in line.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def path_keys() -> tuple[str, ...]:
    """Keys whose text is taken as it is."""
    return PATH_KEYS
