"""Prompts in a frozen ViT, and what L2P, DualPrompt and CODA-Prompt do with them."""

from __future__ import annotations

import pytest
import timm
import torch
from torch.nn.functional import normalize

from janus.errors import ConfigError
from janus.methods.coda_prompt import assembly_weights, orthonormal_start
from janus.methods.l2p import majority
from janus.nn.prompts import PrefixAttention, PromptedViT
from tests.janus.methods.by_hand import started, train

PROMPTED = ["l2p", "l2p_pp", "dualprompt", "coda_prompt"]
RATES = {"method__lr": 1e-2, "method__head_lr": 1e-2}


def draw(*shape: int, seed: int = 0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def vit(**kwargs):
    torch.manual_seed(0)
    shape = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
    model = timm.create_model("vit_tiny_patch16_224", num_classes=0, **shape, **kwargs)
    return model.eval().requires_grad_(False)


IMAGES = draw(3, 3, 32, 32, seed=1)


def attention_by_hand(attn, x, keys, values):
    """softmax(q [pk; k]^T / sqrt(d)) [pv; v], one image and one head at a time."""
    width = x.shape[-1]
    size = width // attn.num_heads
    out = torch.empty_like(x)
    for i, qkv in enumerate(x @ attn.qkv.weight.T + attn.qkv.bias):
        q, k, v = qkv.split(width, dim=-1)
        k, v = torch.cat([keys[i], k]), torch.cat([values[i], v])
        for at in range(0, width, size):
            h = slice(at, at + size)
            out[i, :, h] = torch.softmax(q[:, h] @ k[:, h].T / size**0.5, dim=-1) @ v[:, h]
    return out @ attn.proj.weight.T + attn.proj.bias


@pytest.mark.parametrize("fused", [True, False])
def test_prefix_attention_equals_attention_by_hand(fused):
    attn = vit().blocks[0].attn
    attn.fused_attn = fused
    x, prefix = draw(3, 17, 32), draw(3, 2, 4, 32, seed=2)
    want = attention_by_hand(attn, x, prefix[:, 0], prefix[:, 1])
    layer = PrefixAttention(attn)
    layer.qkv.prefix = prefix
    assert torch.allclose(layer(x), want, atol=1e-6)
    layer.qkv.prefix = prefix[:1]  # one prefix for all images
    assert torch.allclose(layer(x)[1:], layer(x[1:]), atol=1e-6)
    assert torch.allclose(layer(x)[0], want[0], atol=1e-6)


@pytest.mark.parametrize("kwargs", [{}, {"qk_norm": True}, {"reg_tokens": 2}])
def test_without_prefix_the_network_is_timms_own(kwargs):
    plain = vit(**kwargs)(IMAGES)
    prompted = PromptedViT(vit(**kwargs), [0, 1])
    assert torch.equal(prompted.query(IMAGES), plain)
    nothing = torch.zeros(1, 2, 0, 32)
    assert torch.equal(prompted.prefixed(IMAGES, [nothing, nothing]), plain)
    prefixed = prompted.prefixed(IMAGES, [draw(1, 2, 3, 32), draw(3, 2, 5, 32)])
    assert prefixed.shape == plain.shape and not torch.allclose(prefixed, plain, atol=1e-3)
    assert torch.equal(prompted.query(IMAGES), plain)


def test_tokens_beside_the_image_equal_the_longer_sequence_by_hand():
    model, tokens = vit(), draw(1, 5, 32)
    x = model._pos_embed(model.patch_embed(IMAGES))
    x = torch.cat([x, tokens.expand(3, -1, -1)], dim=1)
    want = model.norm(model.blocks(x))[:, 17:].mean(1)
    assert torch.allclose(PromptedViT(model, []).beside_tokens(IMAGES, tokens), want, atol=1e-6)
    assert model(IMAGES).shape == (3, 32) and not model.blocks[0]._forward_pre_hooks


def test_a_model_without_fused_qkv_is_refused():
    model = vit()
    model.blocks[0].attn.qkv = torch.nn.Identity()
    with pytest.raises(ConfigError, match="no fused blocks"):
        PromptedViT(model, [0])


# ---- L2P ---------------------------------------------------------------------------------------
def test_majority_counts_votes_and_breaks_ties_by_number():
    chosen = torch.tensor([[4, 1], [4, 0], [2, 1], [2, 4]])
    assert majority(chosen, 6).tolist() == [4, 1]  # votes 0:1 1:2 2:2 4:3


@pytest.mark.parametrize("place", ["input", "prefix"])
def test_l2p_selects_the_nearest_keys_and_the_majority_in_training(place):
    method, stream = started("l2p", method__place=place, method__length=4, method__top_k=2)
    method.begin_task(stream.tasks[0])
    keys, pool = method.trained["keys"].detach(), method.trained["prompts"].detach()
    # queries close to keys (7, 3), (7, 1), (7, 3): the batch's majority is 7 and 3
    query = torch.stack([3 * keys[7] + 2 * keys[b] for b in (3, 1, 3)])
    cosines = normalize(query, dim=1) @ normalize(keys, dim=1).T
    best = cosines.argsort(dim=1, descending=True)[:, :2]
    assert [set(row) for row in best.tolist()] == [{7, 3}, {7, 1}, {7, 3}]

    test = method.choose(query, training=False)
    own = torch.stack([torch.stack([pool[m] for m in row]) for row in best])
    joined = torch.cat(own.unbind(1), dim=-2)
    assert torch.equal(test.prompts[0], joined)
    assert torch.allclose(test.cosines, cosines.gather(1, best))
    trained = method.choose(query, training=True)
    assert torch.equal(trained.prompts[0], torch.cat([pool[7], pool[3]], dim=-2)[None])
    assert torch.allclose(trained.cosines, cosines[:, [7, 3]])


def test_only_selected_prompts_and_keys_get_a_gradient():
    method, stream = started("l2p", method__top_k=2)
    method.begin_task(stream.tasks[0])
    batch = next(iter(stream.tasks[0].train_batches(0)))
    cosines = method.choose(method.vit.query(batch.images), training=True).cosines
    sum(method.loss(batch).values()).backward()
    for name in ("prompts", "keys"):
        moved = method.trained[name].grad.flatten(1).norm(dim=1) > 0
        assert int(moved.sum()) == cosines.shape[1] == 2


def test_more_selected_than_in_the_pool_is_refused():
    with pytest.raises(ConfigError, match=r"choose at most method\.top_k=3"):
        started("l2p", method__pool=3)


# ---- DualPrompt --------------------------------------------------------------------------------
def test_dualprompt_trains_the_true_task_and_selects_by_key():
    method, stream = started("dualprompt", **RATES)
    train(method, stream.tasks[0])
    train(method, stream.tasks[1], steps=3)
    keys = torch.cat([method.frozen["key"], method.trained["key"]]).detach()
    query = 2 * keys  # points exactly at task 0, then at task 1
    in_training, at_test = (method.choose(query, training=t) for t in (True, False))
    first, second = method.frozen["expert"][0, 0], method.trained["expert"][0, 0]
    assert torch.equal(in_training.prompts[1][0], second) and len(in_training.prompts[1]) == 1
    assert torch.equal(at_test.prompts[1][0], first)
    assert torch.equal(at_test.prompts[1][1], second)
    for choice in (in_training, at_test):
        assert torch.equal(choice.prompts[0][0], method.trained["general"][0])


@pytest.mark.slow
def test_dualprompts_general_prompt_goes_on_and_old_experts_stay():
    method, stream = started("dualprompt", **RATES)
    train(method, stream.tasks[0])
    general, expert = (method.trained[n].detach().clone() for n in ("general", "expert"))
    train(method, stream.tasks[1])
    assert torch.equal(method.frozen["expert"], expert)
    assert not torch.equal(method.trained["general"], general)


@pytest.mark.parametrize(
    ("depth", "general", "expert"), [(2, 1, 1), (3, 2, 1), (4, 2, 2), (6, 2, 3)]
)
def test_dualprompt_fits_shallow_backbones(depth, general, expert):
    shape = {"patch_size": 8, "embed_dim": 32, "depth": depth, "num_heads": 2}
    method, _ = started("dualprompt", backbone__model_kwargs=shape)
    assert (method.general_blocks, method.expert_blocks) == (general, expert)


# ---- CODA-Prompt -------------------------------------------------------------------------------
def test_coda_prefix_equals_the_sum_of_components_by_hand():
    method, stream = started("coda_prompt", **RATES)
    train(method, stream.tasks[0])
    train(method, stream.tasks[1], steps=2)
    query = draw(3, 32)
    found = method.choose(query, training=True).prompts
    assert len(found) == 2
    for block in range(2):
        for i, q in enumerate(query):
            want = 0
            for part in (method.frozen, method.trained):
                for p, k, a in zip(
                    *(part[n][:, block] for n in ("prompts", "keys", "attention")), strict=True
                ):
                    want = want + torch.cosine_similarity(q * a, k, dim=0) * p
            assert torch.allclose(found[block][i], want, atol=1e-6)


def test_assembly_weights_stay_finite_where_the_product_vanishes():
    a, k = torch.zeros(2, 1, 8, requires_grad=True), torch.ones(2, 1, 8)
    weights = assembly_weights(torch.ones(3, 8), a, k)
    weights.sum().backward()
    assert torch.equal(weights, torch.zeros(3, 2, 1)) and bool(a.grad.isfinite().all())


def test_new_components_are_orthogonal_to_trained_old_ones():
    """Trained old ones are oblique: only their span counts."""
    old = draw(6, 3, 20) + 2.0
    new = orthonormal_start(old, draw(5, 3, 20, seed=1))
    for block in range(3):
        assert float((new[:, block] @ old[:, block].T).abs().max()) < 1e-5
        assert torch.allclose(new[:, block] @ new[:, block].T, torch.eye(5), atol=1e-6)
    first = draw(5, 3, 20, seed=1)[0, 0]
    alone = orthonormal_start(None, draw(5, 3, 20, seed=1))[0, 0]
    assert torch.allclose(alone, first / first.norm(), atol=1e-6)


def test_every_task_starts_orthogonal_to_the_tasks_before():
    method, stream = started("coda_prompt", **RATES)
    train(method, stream.tasks[0])
    method.begin_task(stream.tasks[1])
    for name in ("prompts", "keys", "attention"):
        old, new = method.frozen[name].flatten(2), method.trained[name].detach().flatten(2)
        assert len(old) == len(new) == 8  # 100 components, at most the width 32, over 4 tasks
        for block in range(2):
            assert float((new[:, block] @ old[:, block].T).abs().max()) < 1e-5


def test_old_components_carry_no_gradient_and_never_move():
    method, stream = started("coda_prompt", **RATES)
    train(method, stream.tasks[0])
    old = {n: v.detach().clone() for n, v in method.trained.items()}
    train(method, stream.tasks[1])
    for name, value in old.items():
        assert torch.equal(method.frozen[name], value) and not method.frozen[name].requires_grad
        assert not torch.equal(method.trained[name], value)


def test_too_few_components_for_the_tasks_are_refused():
    method, stream = started("coda_prompt", method__components=3)
    with pytest.raises(ConfigError, match="less than one component"):
        method.begin_task(stream.tasks[0])


# ---- all of them -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "options"),
    [("l2p", {}), ("l2p_pp", {"method__key_pairs": False}), ("dualprompt", {})],
)
def test_key_loss_by_hand(name, options):
    method, stream = started(name, method__key_weight=0.3, **options)
    method.begin_task(stream.tasks[0])
    batch = next(iter(stream.tasks[0].train_batches(0)))
    near = method.choose(method.vit.query(batch.images), training=True).cosines
    want = 0.3 * sum(float((1 - row).sum()) for row in near.detach()) / len(batch.labels)
    assert float(method.loss(batch)["key"].detach()) == pytest.approx(want, rel=1e-5)


def with_spread_keys(**options):
    """L2P++ whose images select different keys; all queries of the toy model lie close together."""
    method, stream = started("l2p_pp", **options)
    method.begin_task(stream.tasks[0])
    query = method.vit.query(next(stream.tasks[0].plain_batches()).images)[:30]
    method.trained["keys"].data = 100 * (query - query.mean(0))
    return method, stream


def test_key_loss_over_pairs_by_hand():
    """Every query against the keys that every image of the batch selected, one pair at a time."""
    method, stream = with_spread_keys(method__key_weight=0.3, method__top_k=2)
    batch = next(iter(stream.tasks[0].train_batches(0)))
    query, keys = method.vit.query(batch.images), method.trained["keys"].detach()
    cosines = normalize(query, dim=1) @ normalize(keys, dim=1).T
    selected = cosines.argsort(dim=1, descending=True)[:, :2].tolist()
    images = range(len(batch.labels))
    pairs = [sum(1 - float(cosines[i, m]) for m in selected[j]) for i in images for j in images]
    want = 0.3 * sum(pairs) / len(pairs)
    assert len({tuple(sorted(row)) for row in selected}) > 1
    assert float(method.loss(batch)["key"].detach()) == pytest.approx(want, rel=1e-5)
    assert method.choose(query, training=False).cosines.shape == (len(images), 2)


def test_keys_move_alike_under_the_source_s_sum_over_pairs():
    """Adam forgets the scale, so the mean here and the sum there take the same steps."""
    method, stream = with_spread_keys(**RATES)
    other = torch.nn.Parameter(method.trained["keys"].detach().clone())
    adam = torch.optim.Adam([other], lr=1e-2)
    for batch in list(stream.tasks[0].train_batches(0))[:3]:
        cosines = normalize(method.vit.query(batch.images), dim=1) @ normalize(other, dim=1).T
        (1 - cosines[:, cosines.topk(5, dim=1).indices]).sum().backward()
        adam.param_groups[0]["lr"] = 1e-2 * method.optimizer.factor
        adam.step()
        adam.zero_grad()
        sum(method.loss(batch).values()).backward()
        method.update()
    apart = float((method.trained["keys"] - other).detach().abs().max())
    assert apart < 1e-4, "a hundredth of one step"


@pytest.mark.parametrize(("name", "normal"), [("l2p", True), ("l2p_pp", False)])
def test_heads_of_l2p_start_as_its_source_s(name, normal):
    method, stream = started(name)
    method.begin_task(stream.tasks[0])
    head = method.heads.parts[0]
    bound = 32**-0.5
    assert bool((head.bias == 0).all()) is normal
    if normal:
        assert float(head.weight.detach().std()) == pytest.approx(0.02, rel=0.1)
    else:
        assert 0.9 * bound < float(head.weight.detach().abs().max()) <= bound


def test_the_key_loss_turns_the_key_towards_the_queries():
    method, stream = started("dualprompt", **RATES)
    task = stream.tasks[0]
    method.begin_task(task)
    query = method.vit.query(next(task.plain_batches()).images)
    before = float(method.choose(query, training=True).cosines.detach().mean())
    train(method, task)
    assert float(method.choose(query, training=True).cosines.detach().mean()) > before


@pytest.mark.parametrize(
    ("name", "prompts"),
    [
        ("l2p", 10 * 5 * 32 + 10 * 32),
        ("l2p_pp", 30 * 20 * 32 + 30 * 32),
        ("dualprompt", 1 * 6 * 32 + 1 * 20 * 32 + 32),
        ("coda_prompt", 2 * 8 * (8 * 32 + 2 * 32)),
    ],
)
def test_trained_parameters_follow_the_formula(name, prompts):
    method, stream = started(name)
    for task in stream.tasks[:2]:
        method.begin_task(task)
        assert method.trained_parameters() == prompts + 33 * task.classes
        assert sum(p.requires_grad for p in method.backbone.parameters()) == 0


@pytest.mark.parametrize("name", PROMPTED)
def test_predictions_do_not_depend_on_the_rest_of_the_batch(name):
    method, stream = started(name, **RATES)
    train(method, stream.tasks[0], steps=2)
    images = next(stream.tasks[0].plain_batches()).images[:6]
    whole, alone = method.predict(images)[0], method.predict(images[2:3])[0]
    assert torch.allclose(whole[2:3], alone, atol=1e-5)


def test_an_odd_prefix_is_refused():
    method, stream = started("coda_prompt", method__length=7)
    with pytest.raises(ConfigError, match="must be even, got 7"):
        method.begin_task(stream.tasks[0])
