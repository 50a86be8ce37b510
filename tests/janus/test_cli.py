"""`python -m janus` and `python -m janus.weights` as a user types them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from janus.__main__ import run_command
from janus.config.compose import compose
from janus.store.store import Store
from tests.conftest import TOY

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def janus(capsys):
    """The command line inside this process: importing torch takes seconds."""

    def call(*words: str) -> Done:
        status = run_command(list(words))
        out, err = capsys.readouterr()
        return Done(status, out, err)

    return call


def toy_words(tmp_path) -> list[str]:
    return [f"{k}={v}" for k, v in TOY.items()] + [f"store={tmp_path}", "threads=1", "device=cpu"]


def test_runs_one_cell_and_says_where_the_result_is(janus, tmp_path):
    done = janus("method=ncm", *toy_words(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ACC ")
    assert Path(done.stdout.splitlines()[1]).is_file()
    assert done.stderr.count("accuracy so far") == 4  # plain lines when not a terminal


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["method=jnus"], "Did you mean 'janus'"),
        (["method.rnk=3"], "Did you mean 'rank'"),
        (["bech=glyphs"], "Did you mean 'bench'"),
        (["method.rank=1,2"], "python -m sweeps"),
        (["nonsense"], "write key=value"),
        (["threads=many"], "threads must be an integer"),
        (["device=gpu"], "Did you mean 'cpu'"),
        (["device=meta"], "only cpu and cuda"),
        (["threads=-1"], "at least 0"),
        (["bench.augment=foo"], "must be one of none, shift"),
        (["order=00"], "plain seed number"),
        (["bench.root=/nowhere", "bench.train_per_class=2"], "is bundled"),
        (["backbone.image_size=33", "backbone=toy"], "no multiple of the patch size"),
        (["backbone.model_kwargs={a:1}", "backbone=toy"], "timm cannot make vit_tiny"),
        (["bench.tasks=500"], "at most 100"),
        (["method.rank=1000", "bench.train_per_class=2"], "width 128"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(janus, words, message, tmp_path):
    done = janus(*words, f"store={tmp_path}")
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_missing_hub_weights_are_told_at_once_with_the_command(tmp_path):
    """In a process of its own: the hub's client reads its cache folder when it is imported."""
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "janus", "backbone=vit_b16_in21k", f"store={tmp_path}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_CACHE": str(tmp_path)},
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "python -m janus.weights fetch vit_b16_in21k" in done.stderr
    # not a benchmark: the hub's own client retries for 47 s; nothing may ask it
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("damage", ["truncated", "foreign", "other"])
def test_wrong_weight_files_are_refused(janus, damage, tmp_path):
    import torch
    from safetensors.torch import save_file

    bundled = ROOT / "janus/data/assets/glyph_vit.safetensors"
    path = tmp_path / "w.safetensors"
    if damage == "other":
        save_file({"blocks.0.attn.qkv.weight": torch.zeros(3, 3)}, path)
    else:
        raw = bundled.read_bytes()
        path.write_bytes(raw[:5000] if damage == "truncated" else b"not weights at all")
    done = janus(f"backbone.weights={path}", f"store={tmp_path / 'runs'}", "device=cpu")
    assert done.returncode == 2, done.stderr
    assert "cannot be loaded" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_local_weight_file_gives_the_bundled_result(janus, tmp_path):
    """A float32 copy of the bundled weights, loaded as any file is."""
    from safetensors.torch import load_file, save_file

    bundled = load_file(ROOT / "janus/data/assets/glyph_vit.safetensors")
    path = tmp_path / "copy.safetensors"
    save_file({k: v.float() for k, v in bundled.items()}, path)
    common = ["method=ncm", "bench.train_per_class=2", "bench.tasks=2", "device=cpu", "threads=1"]
    ours = janus(*common, f"store={tmp_path}")
    copied = janus(*common, f"store={tmp_path}", f"backbone.weights={path}")
    assert copied.returncode == 0, copied.stderr
    assert ours.stdout.splitlines()[0] == copied.stdout.splitlines()[0]
    assert ours.stdout.splitlines()[1] != copied.stdout.splitlines()[1]  # another identity


def test_help_lists_benches_methods_and_fields(janus):
    text = janus("--help", "method=inflora").stdout
    for word in ("glyphs_styles", "seqlora", "train.epochs", "method.rank", "Passes over each"):
        assert word in text


def test_help_names_every_kind_of_order(janus):
    (told,) = [x for x in janus("--help").stdout.splitlines() if x.startswith("  order=")]
    assert all(f"`{kind}`" in told for kind in ("natural", "pilot1993", "coda1"))


def test_list_methods_prints_the_zoo(janus):
    text = janus("--list", "methods").stdout
    assert all(name in text for name in ("janus", "inflora", "lora_gpm", "ncm", "joint"))


def test_options_and_overrides_mix(janus):
    assert janus("method=ncm", "--dry", "seed=1").returncode == 0


def test_a_store_that_is_a_file_is_one_line(janus, tmp_path):
    (tmp_path / "file").write_text("")
    done = janus("method=ncm", "backbone=toy", f"store={tmp_path / 'file'}", "device=cpu")
    assert done.returncode == 2 and "Traceback" not in done.stderr


def test_a_cell_that_a_live_process_of_this_machine_holds_names_it(janus, tmp_path):
    """It keeps its claim however long it is silent: whoever waits must know what to end."""
    assert Store(tmp_path).claim(compose({**TOY, "method": "ncm"})) is not None
    done = janus("method=ncm", *toy_words(tmp_path))
    assert done.returncode == 1
    assert f"is run by process {os.getpid()} on " in done.stderr and "waiting" not in done.stderr


def test_dry_prints_the_cell_without_running(janus, tmp_path):
    done = janus("--dry", "method.rank=3", f"store={tmp_path}")
    assert '"rank": 3' in done.stdout and not list(tmp_path.iterdir())
