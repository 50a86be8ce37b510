"""Weight files at the command line: runs, sweeps, and `python -m janus.weights`."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open

from janus.__main__ import run_command
from janus.config.cell import BackboneConfig
from janus.config.compose import compose
from janus.errors import ConfigError, DataError
from janus.store.store import Store
from janus.training.loop import run_cell
from janus.weight_header import metadata_of
from janus.weights import __main__ as commands
from janus.weights import resolve
from tests.conftest import TOY, toy_cell
from tests.janus.weights.weight_sets import (
    TINY,
    Attack,
    Foreign,
    assert_same_features,
    hugging_face,
    images,
    loaded,
    moco_v3,
    network,
    save,
    some,
    under,
)

GREY = {"in_chans": 1}
"""What the toy backbone has."""


def words(path, store) -> list[str]:
    toy = {**TOY, "bench.tasks": 2, "method": "ncm", "backbone.weights": path, "store": store}
    return [f"{key}={value}" for key, value in toy.items()] + ["threads=1", "device=cpu"]


def provenance(store):
    (cell_id,) = store.done()
    return store.provenance(cell_id)["weights"]


# ---- runs and sweeps ------------------------------------------------------------------------
def test_a_run_says_what_it_did_and_keeps_it_in_its_provenance(tmp_path, capsys):
    state = network(**GREY).state_dict()
    plain, other = save(state, tmp_path / "a.pth"), save(moco_v3(state), tmp_path / "b.pth")
    assert (
        run_command(words(plain, tmp_path / "plain"))
        == run_command(words(other, tmp_path / "other"))
        == 0
    )
    out, err = capsys.readouterr()
    figures = [line.split("(")[0] for line in out.splitlines() if line.startswith("ACC")]
    assert len(figures) == 2 and figures[0] == figures[1]
    told = [line for line in err.splitlines() if line.startswith("weights: ")]
    assert "names as timm's" in told[0] and "'module.base_encoder.' stripped" in told[1]
    assert provenance(Store(tmp_path / "plain")) == {"tensors": 30}
    assert provenance(Store(tmp_path / "other")) == {
        "tensors": 30,
        "taken": "state_dict",
        "stripped": "module.base_encoder.",
        "left_out": {"momentum_encoder": 30, "head": 1, "predictor": 1},
    }


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_run_on_a_wrong_file_does_not_start(suffix, tmp_path, capsys):
    path = save(some("some.thing"), tmp_path / f"w{suffix}")
    assert run_command(words(path, tmp_path / "store")) == 2
    out, err = capsys.readouterr()
    assert not out and "Traceback" not in err
    assert len([line for line in err.splitlines() if "cannot be loaded" in line]) == 1
    assert not (tmp_path / "store").exists()


def test_a_wrong_file_ends_a_sweep_once_before_it_starts(tmp_path, monkeypatch):
    """Nobody tries it in each of a hundred cells."""
    from sweeps.__main__ import main

    monkeypatch.setattr(
        "sweeps.execution.ray_pool.RayPool.__init__", None
    )  # no worker may be asked for
    path = save(some("some.thing"), tmp_path / "w.pth")
    sweep = tmp_path / "many.yaml"
    sweep.write_text("bench: glyphs\nmethods: [ncm, seqlora]\nseeds: 50\norders: [0]\n")
    given = [f"backbone.weights={path}", "backbone=toy", f"store={tmp_path / 'store'}"]
    with pytest.raises(DataError, match="30 of 30 tensors are missing"):
        main(["run", str(sweep), *given])
    assert not (tmp_path / "store").exists()
    path.write_bytes(b"")
    with pytest.raises(DataError, match="empty"):
        main(["plan", str(sweep), *given])


def test_a_worker_of_a_cluster_takes_no_cell_on_a_wrong_file(tmp_path, monkeypatch):
    from cluster.node.node_check import UNFIT
    from cluster.node.worker import work
    from cluster.record.profile import load_profile
    from cluster.record.submission import create_submission, read_events

    path, store = save(some("some.thing"), tmp_path / "w.pth"), Store(tmp_path / "store")
    cells = [toy_cell("ncm", seed=seed, backbone__weights=str(path)) for seed in range(3)]
    submission = create_submission(
        store, "name", cells, {}, load_profile("default", {"device": "cpu"}), {}
    )
    monkeypatch.setattr("cluster.node.worker.check_torch", lambda profile: "torch")
    with pytest.raises(SystemExit) as ended:
        work(submission, 0, 1, 0, lambda: False)
    assert ended.value.code == UNFIT
    (check,) = [e for e in read_events(submission.events.iterdir()) if e["event"] == "check"]
    assert not check["ok"] and "30 of 30 tensors are missing" in check["lines"][0]
    assert not any(store.last_claim(cell.id) for cell in cells)


def test_equal_files_are_looked_at_once(tmp_path, monkeypatch):
    from janus.weights import fit

    seen = []
    map_weights = fit.map_weights
    monkeypatch.setattr(
        fit, "map_weights", lambda *given: seen.append(given) or map_weights(*given)
    )
    path = save(network(**GREY).state_dict(), tmp_path / "w.pth")
    cells = [toy_cell("ncm", seed=seed, backbone__weights=str(path)) for seed in range(9)]
    (line,) = resolve.check_weight_files(cell.backbone for cell in [*cells, toy_cell("ncm")])
    assert len(seen) == 1 and str(path) in line


def test_features_of_a_version_that_left_the_network_random_are_not_used(tmp_path):
    """They lie under the hash of the same file; only a file of timm's names was loaded then."""
    state = network(**GREY).state_dict()
    for name, content in (("timm", state), ("other", under("backbone.", state))):
        path, store = save(content, tmp_path / f"{name}.pth"), Store(tmp_path / name)
        cell = compose({**TOY, "method": "ncm", "backbone.weights": str(path)})
        run_cell(cell, store, threads=1)
        keys = [kept.read_bytes() for kept in store.features.glob("*/*.safetensors")]
        marked = b"backbone." in b"".join(keys).replace(b"backbone.blocks", b"")
        assert len(keys) == 2 and marked == (name == "other")


@pytest.mark.parametrize("where", ["hub", "bundled"])
def test_weights_of_the_hub_and_of_the_package_are_loaded_as_strictly(where, tmp_path, monkeypatch):
    from janus.nn.vit import build_backbone

    short = dict(list(network(**GREY).state_dict().items())[:-1])
    path = save(short, tmp_path / "model.safetensors")
    monkeypatch.setattr("janus.nn.vit.weight_file", lambda config: path)
    config = toy_cell(backbone__weights=where).backbone
    with pytest.raises(DataError, match=r"1 of 30 tensors are missing \(first: norm.bias\)"):
        build_backbone(config, torch.device("cpu"))


def test_results_on_files_that_nobody_checked_are_told(tmp_path, capsys):
    path, store = save(network(**GREY).state_dict(), tmp_path / "w.pth"), tmp_path / "store"
    assert run_command(words(path, store)) == 0
    assert commands._main(["audit", str(store)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("0 results")
    (record,) = store.glob("runs/*/*/attempts/*/provenance.json")
    facts = json.loads(record.read_text())
    del facts["weights"]  # as versions before had it
    record.write_text(json.dumps(facts))
    assert commands._main(["audit", str(store)]) == 0
    assert "1 results" in (out := capsys.readouterr().out) and "Check each file" in out
    assert run_command(words(path, store)) == 0
    assert "did not check weight files" in capsys.readouterr().err


# ---- python -m janus.weights ----------------------------------------------------------------
@pytest.fixture
def tiny(monkeypatch):
    """`--model tiny`: the network of `weight_sets`."""
    config = {"model": "vit_tiny_patch16_224", "model_kwargs": TINY, "image_size": 64}
    monkeypatch.setattr(
        commands, "model_config", lambda n, f: BackboneConfig(name=n, weights=str(f), **config)
    )
    return ["--model", "tiny"]


@pytest.mark.parametrize("checked", [True, False])
def test_the_converter_writes_timms_names_and_what_it_did(checked, tiny, tmp_path, capsys):
    source = network()
    content = {"teacher": hugging_face(source.state_dict(), "module.vit."), "epoch": 3}
    old, new = save(content, tmp_path / "w.pth"), tmp_path / "w.safetensors"
    assert commands._main(["convert", str(old), str(new), *(tiny if checked else [])]) == 0
    assert "prefix 'module.vit.' stripped" in capsys.readouterr().out
    with safe_open(str(new), "pt") as opened:
        assert set(opened.keys()) == set(source.state_dict())
        assert opened.get_slice("pos_embed").get_shape() == [
            1,
            17,
            32,
        ]  # of the file, not of --model
    facts = json.loads(metadata_of(new)["janus_mapping"])
    assert facts["taken"] == "teacher" and facts["source"] == "w.pth"
    assert facts["renamed"]["encoder.layer.*.layernorm_before.bias"] == "blocks.*.norm1.bias"
    ours, record = loaded(new)
    assert_same_features(ours, source, images())
    assert record.converted == facts and not record.names


def test_the_converter_runs_no_code_of_a_pickle(tmp_path, capsys):
    source, done = network(), tmp_path / "done"
    harmless = {"state_dict": source.state_dict(), "config": Foreign(), "np": np.float64(3)}
    new = tmp_path / "w.safetensors"
    assert commands._main(["convert", str(save(harmless, tmp_path / "a.pth")), str(new)]) == 0
    assert_same_features(loaded(new)[0], source, images())
    evil = save({"state_dict": source.state_dict(), "x": Attack(done)}, tmp_path / "b.pth")
    commands._main(["convert", str(evil), str(tmp_path / "b.safetensors")])
    assert not done.exists()
    torch.load(evil, weights_only=False)  # what it would have done
    assert done.exists()


def test_an_unknown_prefix_is_stripped_by_name(tiny, tmp_path):
    source, new = network(), tmp_path / "w.safetensors"
    old = save(under("module.query_encoder.q.", source.state_dict()), tmp_path / "w.pth")
    with pytest.raises(DataError, match=r"--strip module\.query_encoder\.q\."):
        commands._main(["convert", str(old), str(new), *tiny])
    assert not new.exists()
    strip = ["--strip", "module.query_encoder.q."]
    assert commands._main(["convert", str(old), str(new), *tiny, *strip]) == 0
    assert_same_features(loaded(new)[0], source, images())


def test_check_says_how_a_file_would_be_loaded(tiny, tmp_path, capsys):
    path = save({"model": network().state_dict()}, tmp_path / "w.pth")
    assert commands._main(["check", str(path), *tiny]) == 0
    assert "taken from 'model'; names" not in (told := capsys.readouterr().out)
    assert "resized from 1x17x32 to 1x65x32" in told
    with pytest.raises(DataError, match="30 of 30"):
        commands._main(["check", str(save(some("a"), path)), *tiny])


@pytest.mark.parametrize("out", ["w.pth", "there.safetensors"])
def test_the_converter_overwrites_nothing(out, tmp_path):
    path = save(network().state_dict(), tmp_path / "in.pth")
    (tmp_path / "there.safetensors").write_text("mine")
    with pytest.raises(ConfigError, match=r"must end in|exists already"):
        commands._main(["convert", str(path), str(tmp_path / out)])
    assert (tmp_path / "there.safetensors").read_text() == "mine"


def jax_archive(state, path, blocks=2):
    """The names and axes of Google's archives, for two heads."""
    t = {name: tensor.numpy() for name, tensor in state.items()}
    at = "Transformer/encoderblock_{}/"
    found = {
        "cls": t["cls_token"],
        "embedding/kernel": t["patch_embed.proj.weight"].transpose(2, 3, 1, 0),
        "embedding/bias": t["patch_embed.proj.bias"],
        "Transformer/posembed_input/pos_embedding": t["pos_embed"],
        "Transformer/encoder_norm/scale": t["norm.weight"],
        "Transformer/encoder_norm/bias": t["norm.bias"],
    }
    for k in range(blocks):
        block, ours = at.format(k), f"blocks.{k}."
        for norm, number in (("LayerNorm_0", "norm1"), ("LayerNorm_2", "norm2")):
            found |= {f"{block}{norm}/scale": t[f"{ours}{number}.weight"]}
            found |= {f"{block}{norm}/bias": t[f"{ours}{number}.bias"]}
        attention = f"{block}MultiHeadDotProductAttention_1/"
        thirds = np.split(t[f"{ours}attn.qkv.weight"], 3), np.split(t[f"{ours}attn.qkv.bias"], 3)
        for name, weight, bias in zip(("query", "key", "value"), *thirds, strict=True):
            found[f"{attention}{name}/kernel"] = weight.T.reshape(32, 2, 16)
            found[f"{attention}{name}/bias"] = bias.reshape(2, 16)
        found[f"{attention}out/kernel"] = t[f"{ours}attn.proj.weight"].T.reshape(2, 16, 32)
        found[f"{attention}out/bias"] = t[f"{ours}attn.proj.bias"]
        for dense, fc in (("Dense_0", "fc1"), ("Dense_1", "fc2")):
            found[f"{block}MlpBlock_3/{dense}/kernel"] = t[f"{ours}mlp.{fc}.weight"].T
            found[f"{block}MlpBlock_3/{dense}/bias"] = t[f"{ours}mlp.{fc}.bias"]
    np.savez(path, **found)
    return path


def test_a_jax_archive_is_converted_for_its_model_alone(tiny, tmp_path):
    source, new = network(), tmp_path / "w.safetensors"
    path = jax_archive(source.state_dict(), tmp_path / "w.npz")
    with pytest.raises(DataError, match=r"JAX archive. Convert it once: .*--model"):
        compose({"backbone": "toy", "backbone.weights": str(path)})
    with pytest.raises(ConfigError, match="name its model"):
        commands._main(["convert", str(path), str(new)])
    assert commands._main(["convert", str(path), str(new), *tiny]) == 0
    assert_same_features(loaded(new)[0], source, images())  # at its own size, whatever --model has
    short = jax_archive(source.state_dict(), tmp_path / "short.npz", blocks=1)
    with pytest.raises(DataError, match="has 1 blocks, the model 2"):
        commands._main(["convert", str(short), str(tmp_path / "short.safetensors"), *tiny])
    bare = {name: value for name, value in np.load(path).items() if name != "cls"}
    np.savez(tmp_path / "bare.npz", **bare)
    with pytest.raises(DataError, match="timm cannot read it"):
        commands._main(
            ["convert", str(tmp_path / "bare.npz"), str(tmp_path / "b.safetensors"), *tiny]
        )
