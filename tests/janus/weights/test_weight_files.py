"""A weight file gives every tensor of the network, whatever it calls them, or is refused."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import torch

from janus.errors import ConfigError, DataError
from janus.machine.import_timm import timm
from tests.janus.weights.weight_sets import (
    LAYOUTS,
    MODEL,
    TINY,
    Foreign,
    assert_same_features,
    hugging_face,
    images,
    loaded,
    network,
    save,
    some,
    under,
)


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_every_known_layout_gives_the_features_of_its_network(layout, tmp_path):
    source = network()
    content = LAYOUTS[layout](source.state_dict())
    files = [save(content, tmp_path / "w.pth")]
    if all(isinstance(value, torch.Tensor) for value in content.values()):
        files.append(save(content, tmp_path / "w.safetensors"))
    for file in files:
        ours, record = loaded(file)
        assert_same_features(ours, source, images())
        assert record.tensors == len(source.state_dict())
        assert bool(record.names) == (layout not in ("plain", "heads"))


def test_what_was_done_is_told_in_one_line(tmp_path):
    state = network().state_dict()
    told = {
        "moco v3": "taken from 'state_dict'; prefix 'module.base_encoder.' stripped; left out: "
        "momentum_encoder (30), predictor (1), head (1)",
        "mae": "taken from 'model'; left out: mask_token (1), decoder_pos_embed (1), "
        "decoder_embed (1), decoder_blocks (1), decoder_norm (1), decoder_pred (1)",
        "plain": "30 tensors; names as timm's",
        "open_clip": "renamed visual.trunk.cls_token to cls_token and ",
    }
    for layout, words in told.items():
        _, record = loaded(save(LAYOUTS[layout](state), tmp_path / "w.pth"))
        assert words in str(record) and "\n" not in str(record)


@pytest.mark.parametrize("style", ["saved", "live"])
@pytest.mark.parametrize("prefix", ["", "vit.", "model.vit."])
def test_hugging_face_names_become_timms(prefix, style, tmp_path):
    source = network()
    content = hugging_face(source.state_dict(), prefix, style)
    ours, record = loaded(save(content | some(f"{prefix}pooler.dense.bias"), tmp_path / "w.bin"))
    assert_same_features(ours, source, images())
    query = (
        "encoder.layer.*.attention.attention.query.weight"
        if style == "saved"
        else ("layers.*.attention.q_proj.weight")
    )
    assert record.renamed[query] == "blocks.*.attn.qkv.weight"
    assert record.left_out == {"pooler": 1} and record.stripped == prefix


@pytest.mark.parametrize("lost", ["query", "value"])
def test_a_part_of_a_fused_tensor_alone_is_refused(lost, tmp_path):
    content = hugging_face(network().state_dict())
    del content[f"encoder.layer.1.attention.attention.{lost}.weight"]
    with pytest.raises(DataError, match=r"1 of 30 .* \(first: blocks.1.attn.qkv.weight\); 2 tens"):
        loaded(save(content, tmp_path / "w.pth"))


@pytest.mark.slow
@pytest.mark.parametrize("saved", [True, False])
@pytest.mark.parametrize(
    "kind", ["vit", "classifier", "mae", "deit", "dinov2", "dinov2_swiglu", "registers"]
)
def test_models_of_transformers_keep_their_features(kind, saved, tmp_path):
    """Against their own forward pass. LayerNorm's epsilon is that of timm, and of these papers."""
    hf = pytest.importorskip("transformers")
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    shape |= {"image_size": 32, "patch_size": 8, "layer_norm_eps": 1e-6}
    vit = shape | {"intermediate_size": 128}
    decoder = {f"decoder_{n}": 2 for n in ("num_attention_heads", "num_hidden_layers")}
    decoder |= {"decoder_hidden_size": 16, "decoder_intermediate_size": 16, "mask_ratio": 0.0}
    made, model, changes = {
        "vit": (lambda: hf.ViTModel(hf.ViTConfig(**vit)), MODEL, {}),
        "classifier": (lambda: hf.ViTForImageClassification(hf.ViTConfig(**vit)), MODEL, {}),
        "mae": (lambda: hf.ViTMAEForPreTraining(hf.ViTMAEConfig(**vit, **decoder)), MODEL, {}),
        "deit": (lambda: hf.DeiTModel(hf.DeiTConfig(**vit)), "deit_tiny_distilled_patch16_224", {}),
        "dinov2": (
            lambda: hf.Dinov2Model(hf.Dinov2Config(**shape)),
            "vit_small_patch14_dinov2",
            {},
        ),
        "dinov2_swiglu": (
            lambda: hf.Dinov2ForImageClassification(hf.Dinov2Config(**shape, use_swiglu_ffn=True)),
            "vit_giant_patch14_dinov2",
            {"mlp_ratio": 5.5},
        ),
        "registers": (
            lambda: hf.Dinov2WithRegistersModel(hf.Dinov2WithRegistersConfig(**shape)),
            "vit_small_patch14_reg4_dinov2",
            {},
        ),
    }[kind]
    theirs = made().eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for name, tensor in theirs.named_parameters():
            scale = "norm" in name and name.endswith("weight")
            tensor.copy_(0.3 * torch.randn_like(tensor) + float(scale))
        trunk = getattr(theirs, "vit", getattr(theirs, "dinov2", theirs))
        given = {"noise": torch.arange(16.0).repeat(3, 1)} if kind == "mae" else {}
        tokens = trunk(pixel_values=images(), **given).last_hidden_state
    wanted = tokens[:, :2].mean(1) if kind == "deit" else tokens[:, 0]  # timm's feature of DeiT
    if saved:
        theirs.save_pretrained(tmp_path)
        path = tmp_path / "model.safetensors"
    else:
        path = save(theirs.state_dict(), tmp_path / "w.pth")
    ours, _ = loaded(path, model, model_kwargs=TINY | changes)
    assert_same_features(ours, wanted, images())


def test_openais_names_are_translated_by_timm(tmp_path):
    """Text tower and projection left out."""
    model = "vit_base_patch16_clip_quickgelu_224"
    source = network(model)
    swaps = {"patch_embed.proj": "conv1", "blocks": "transformer.resblocks", "norm_pre": "ln_pre"}
    swaps |= {".norm1": ".ln_1", ".norm2": ".ln_2", "attn.qkv.": "attn.in_proj_"}
    swaps |= {"attn.proj": "attn.out_proj", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}
    swaps |= {"pos_embed": "positional_embedding", "cls_token": "class_embedding"}
    content = some("logit_scale", "transformer.resblocks.0.ln_1.bias", "token_embedding.weight")
    content["visual.proj"] = torch.ones(32, 16)
    for name, tensor in source.state_dict().items():
        for ours, theirs in {**swaps, "norm.": "ln_post."}.items():
            name = name.replace(ours, theirs)
        flat = tensor.squeeze() if name.endswith("_embedding") else tensor
        content[f"visual.{name}"] = flat
    ours, record = loaded(save(content, tmp_path / "w.pth"), model)
    assert_same_features(ours, source, images())
    assert record.renamed["visual.transformer.resblocks.*.ln_1.bias"] == "blocks.*.norm1.bias"
    left = {"logit_scale": 1, "transformer": 1, "token_embedding": 1, "head": 2}
    assert record.left_out == left


def test_dinov2s_own_names_with_registers_are_translated_by_timm(tmp_path):
    """Its positions begin with one for the CLS token, which timm adds to that token."""
    model = "vit_small_patch14_reg4_dinov2"
    source = network(model)
    content = dict(source.state_dict())
    first = torch.randn(1, 1, 32)
    content["cls_token"] = content["cls_token"] - first
    content["pos_embed"] = torch.cat([first, content["pos_embed"]], 1)
    content["register_tokens"] = content.pop("reg_token")
    ours, record = loaded(save(content | some("mask_token"), tmp_path / "w.pth"), model)
    assert_same_features(ours, source, images())
    assert record.renamed == {"register_tokens": "reg_token"}
    assert "parted from cls_token" in str(record)


# ---- other sizes ----------------------------------------------------------------------------
@pytest.mark.parametrize("side", [16, 64])
def test_position_embeddings_of_another_size_are_interpolated_as_timm_does(side, tmp_path):
    source = network()
    ours, record = loaded(save(source.state_dict(), tmp_path / "w.pth"), image_size=side)
    source.set_input_size((side, side))
    assert_same_features(ours, source, images(side))
    tokens = (side // 8) ** 2 + 1
    assert record.changed == {"pos_embed": f"resized from 1x17x32 to 1x{tokens}x32"}


def test_colour_weights_see_a_grey_image_as_three_equal_colours(tmp_path):
    source = network()
    ours, record = loaded(save(source.state_dict(), tmp_path / "w.pth"), channels=1)
    grey = images(channels=1)
    with torch.no_grad():
        assert_same_features(ours, source(grey.repeat(1, 3, 1, 1)), grey)
    assert "summed over its three input channels" in str(record)


def test_half_precision_files_are_read(tmp_path):
    source = network()
    halves = {name: tensor.half() for name, tensor in source.state_dict().items()}
    source.load_state_dict({name: tensor.float() for name, tensor in halves.items()})
    ours, _ = loaded(save(halves, tmp_path / "w.safetensors"))
    assert_same_features(ours, source, images())


def test_a_network_that_averages_its_patches_is_had_by_saying_so(tmp_path):
    source = network(global_pool="avg")
    path = save(source.state_dict(), tmp_path / "w.pth")
    with pytest.raises(DataError, match=r"averages its patches .* add global_pool:avg"):
        loaded(path)
    average = TINY | {"global_pool": "avg"}
    assert_same_features(loaded(path, model_kwargs=average)[0], source, images())
    other = save(network().state_dict(), tmp_path / "cls.pth")
    with pytest.raises(DataError, match="leave global_pool out"):
        loaded(other, model_kwargs=average)


@pytest.mark.parametrize(
    ("model", "side", "channels"),
    [
        (MODEL, 32, 3),
        (MODEL, 64, 1),
        ("flexivit_small", 64, 3),
        ("deit3_small_patch16_224", 64, 3),
    ],
)
def test_sound_files_load_as_by_timms_own_loader(model, side, channels, tmp_path):
    """Bit for bit: results on them stay. Of each model timm's own interpolation, by its name."""
    state = network(model).state_dict()
    if model.startswith("deit3"):  # whose published layer scales have other names
        state = {re.sub(r"ls([12])\.gamma", r"gamma_\1", name): t for name, t in state.items()}
    path = save(state, tmp_path / "w.safetensors")
    overlay = {"file": str(path), "custom_load": False}
    kwargs = {"num_classes": 0, "img_size": side, "in_chans": channels, **TINY}
    loader = timm.create_model(model, pretrained=True, pretrained_cfg_overlay=overlay, **kwargs)
    theirs = loader.state_dict()
    ours = loaded(path, model, image_size=side, channels=channels)[0].state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


# ---- refused --------------------------------------------------------------------------------
def without(state, part):
    return {name: tensor for name, tensor in state.items() if part not in name}


def changed(**tensors):
    """A sound state dict but for these tensors; dots are written as double underscores."""
    given = {name.replace("__", "."): tensor for name, tensor in tensors.items()}
    return dict(network().state_dict()) | given


def deeper(state):
    return state | {name.replace("s.1.", "s.2."): tensor for name, tensor in state.items()}


def half_under(prefix, state):
    half = {name: tensor for name, tensor in state.items() if "blocks.1." in name}
    return without(state, "blocks.1.") | under(prefix, half)


REFUSED = {
    "unrelated": (
        lambda s: some("some.thing"),
        "missing (first: cls_token); 1 tensor is left over (first: some.thing)",
    ),
    "a block less": (
        lambda s: without(s, "blocks.1."),
        "12 of 30 tensors are missing (first: blocks.1.norm1.weight)",
    ),
    "a block more": (deeper, "12 tensors are left over (first: blocks.2."),
    "a tensor less": (
        lambda s: without(s, "norm.bias"),
        "1 of 30 tensors are missing (first: norm.bias)",
    ),
    "half of it under a prefix": (
        lambda s: half_under("module.", s),
        "12 of 30 tensors are missing (first: blocks.1.norm1.weight)",
    ),
    "unknown prefix": (
        lambda s: under("module.query_encoder.q.", s),
        "--strip module.query_encoder.q.",
    ),
    "unknown part": (
        lambda s: under("backbone.", s) | some("neck.weight"),
        "1 tensor is left over (first: neck.weight)",
    ),
    "both namings": (
        lambda s: s | some("embeddings.cls_token"),
        "1 tensor is left over (first: embeddings.cls_token)",
    ),
    "a distillation token": (lambda s: s | some("dist_token"), "left over (first: dist_token)"),
    "wider": (
        lambda s: network(embed_dim=64).state_dict(),
        "(first: cls_token is 1x1x64, the model's 1x1x32)",
    ),
    "other patches": (
        lambda s: network(patch_size=16).state_dict(),
        "its patches are 16x16 pixels, the model's 8x8",
    ),
    "grey": (lambda s: network(in_chans=1).state_dict(), "set backbone.channels=1"),
    "two channels": (lambda s: network(in_chans=2).state_dict(), "takes 2 channels"),
    "quantised": (
        lambda s: changed(norm__weight=torch.ones(32, dtype=torch.int8)),
        "norm.weight holds torch.int8",
    ),
    "diverged": (lambda s: changed(norm__bias=torch.full((32,), torch.nan)), "norm.bias holds NaN"),
}
"""What a file may hold in place of the network, and what is said of it."""


@pytest.mark.parametrize("case", list(REFUSED))
def test_what_is_not_the_network_is_refused_by_name(case, tmp_path):
    change, words = REFUSED[case]
    path = save(change(dict(network().state_dict())), tmp_path / "w.safetensors")
    with pytest.raises(DataError) as told:
        loaded(path)
    assert words in str(told.value) and str(path) in str(told.value) and MODEL in str(told.value)
    line = str(told.value).replace(str(path), "w")
    assert line.count("\n") == 0 and len(line) < 350


@pytest.mark.parametrize("side", [64])
def test_what_is_wrong_is_told_also_where_positions_cannot_be_interpolated(side, tmp_path):
    state = without(network().state_dict(), "cls_token")
    state["pos_embed"] = state["pos_embed"][:, 1:]
    with pytest.raises(DataError, match=r"1 of 30 tensors are missing \(first: cls_token\)"):
        loaded(save(state, tmp_path / "w.pth"), image_size=side)


def test_a_pickle_with_code_is_refused_with_the_safe_way_out(tmp_path):
    content = {"model": network().state_dict(), "config": Foreign()}
    path = save(content, tmp_path / "w.pth")
    with pytest.raises(DataError) as told:
        loaded(path)
    text = str(told.value)
    assert "Foreign" in text and "weights_only" not in text
    assert f"python -m janus.weights convert {path} OUT.safetensors" in text


BYTES = {
    "empty": (b"", "w.safetensors", "empty (0 bytes)"),
    "text": (b"hello, not weights", "w.safetensors", "begins with b'hello, not weights'"),
    "page": (b"<!DOCTYPE html><html>", "w.pth", "begins with b'<!DOCTYPE"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid", "w.bin", "Git LFS pointer"),
    "zip": (b"PK\x05\x06" + 18 * b"\0", "w.pt", "not one that torch.save wrote"),
}


@pytest.mark.parametrize("case", list(BYTES))
def test_what_is_no_weight_file_is_refused_without_torch(case, tmp_path):
    content, name, words = BYTES[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match="cannot be loaded") as told:
        compose_with(tmp_path / name)
    assert words in str(told.value)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "legacy.pth"])
@pytest.mark.parametrize("kept", [0.01, 0.5, 0.999])
def test_a_file_that_is_cut_short_is_refused(name, kept, tmp_path):
    path, state = tmp_path / name, network().state_dict()
    if name == "legacy.pth":
        torch.save(state, path, _use_new_zipfile_serialization=False)
    else:
        save(state, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(DataError, match="cannot be loaded"):
        loaded(path)
    if name != "legacy.pth":
        with pytest.raises(DataError, match="cannot be loaded"):
            compose_with(path)  # already when it is planned


def test_a_safetensors_file_without_tensors_is_refused_without_torch(tmp_path):
    with pytest.raises(DataError, match="holds no tensors"):
        compose_with(save({}, tmp_path / "w.safetensors"))


def test_a_folder_and_a_file_that_cannot_be_read_are_told_apart(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="is a folder"):
        compose_with(tmp_path)
    path = save(network().state_dict(), tmp_path / "w.pth")
    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(DataError, match="Permission denied"):
        compose_with(path)


def refuse(*_, **__):
    raise PermissionError(13, "Permission denied")


def test_other_things_that_torch_saves_are_refused(tmp_path):
    for content, words in (
        (torch.zeros(3), "an object"),
        ({"epoch": 3, "args": {}}, "the keys epoch, args"),
        ({"model": {}}, "no tensors by name"),
    ):
        with pytest.raises(DataError, match=words):
            loaded(save(content, tmp_path / "w.pth"))
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(tmp_path / "jit.pt"))
    with pytest.raises(DataError, match="TorchScript"):
        compose_with(tmp_path / "jit.pt")


def compose_with(path):
    from janus.config.compose import compose

    return compose({"backbone": "toy", "backbone.weights": str(path)})


def test_planning_on_a_weight_file_imports_no_torch(tmp_path):
    path = save(network().state_dict(), tmp_path / "w.pth")
    code = (
        "import sys; from janus.config.compose import compose; "
        f"compose({{'backbone.weights': {str(path)!r}}}); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
