"""Faults in prompt and prototype methods, in CoLoR and in their defaults."""

from __future__ import annotations

from tests.parity.mutants import Fault

L2P = "methods/l2p.py"
DUAL = "methods/dualprompt.py"
CODA = "methods/coda_prompt.py"
PROMPT = "methods/base/prompt_method.py"
VIT = "nn/prompts.py"
HEADS = "nn/heads.py"
HEADS_METHOD = "methods/base/heads_method.py"
ADAPTER = "nn/bottleneck.py"
PROXY = "methods/base/adapter_method.py"
RANPAC = "methods/ranpac.py"
RIDGE = "algorithms/ridge.py"
EASE = "methods/ease.py"
SLCA = "methods/slca.py"
ALIGN = "methods/base/classifier_alignment.py"
COLOR = "methods/color.py"
CLUSTERS = "algorithms/kmeans.py"
OPTIM = "methods/base/optimizer.py"
LOSSES = "algorithms/losses.py"
CONF = "conf/method/"

PROMPTS = [
    Fault(PROMPT, "(1 - choice.cosines)", "(1 + choice.cosines)", ("l2p",)),
    Fault(PROMPT, ".sum(-1).mean()", ".mean()", ("l2p",)),
    Fault(PROMPT, ".sum(-1).mean()", ".sum()", ("dualprompt",)),
    Fault(PROMPT, 'self.context.settings["key_weight"] * far', "far", ("l2p",)),
    Fault(VIT, "functional.normalize(keys, dim=-1).mT", "keys.mT", ("l2p",)),
    Fault(VIT, "functional.normalize(query, dim=-1) @", "query @", ("dualprompt",)),
    Fault(VIT, "keys, values = self", "values, keys = self", ("coda_prompt",)),
    Fault(VIT, "out[:, -tokens.shape[1] :].mean(1)", "out[:, 0]", ("l2p",)),
    Fault(VIT, "tokens.shape[1] :].mean(1)", "tokens.shape[1] :].sum(1)", ("l2p",)),
    Fault(L2P, '["top_k"], dim=1)', '["top_k"], dim=1, largest=False)', ("l2p",)),
    Fault(L2P, '["top_k"], dim=1)', '["top_k"] - 1, dim=1)', ("l2p",)),
    Fault(
        L2P,
        "votes.argsort(descending=True, stable=True)",
        "(pool - 1 - votes.flip(0).argsort(descending=True, stable=True))",
        ("l2p, 1 of 10 by pairs of images, with ties",),
    ),
    Fault(L2P, "descending=True, stable", "descending=False, stable", ("l2p",)),
    Fault(L2P, 'if training and s["batchwise"]', 'if s["batchwise"]', ("l2p",)),
    Fault(L2P, 'if training and s["batchwise"]', "if False", ("l2p",)),
    Fault(L2P, 'elif training and s["key_pairs"]', "elif False", ("l2p_pp",)),
    Fault(L2P, "        if task.index:\n            return {}\n", "", ("l2p",)),
    Fault(L2P, "low = -1.0 if self.as_tokens else 0.0", "low = 0.0", ("l2p",)),
    Fault(L2P, "else [0]", "else [1]", ("l2p_pp",)),
    Fault(
        L2P,
        "if self.as_tokens:\n            return LinearHeads",
        "if False:\n            return LinearHeads",
        ("l2p",),
    ),
    Fault(VIT, "torch.cat([x, extra], dim=1)", "torch.cat([extra, x], dim=1)", ("l2p",)),
    Fault(
        DUAL,
        'self.trained["key"] if training else self.every("key")',
        'self.every("key")',
        ("dualprompt",),
    ),
    Fault(DUAL, "cosines.argmax(1)", "cosines.argmin(1)", ("dualprompt",)),
    Fault(
        DUAL, "if training:\n            expert", "if True:\n            expert", ("dualprompt",)
    ),
    Fault(
        DUAL,
        "[*general.unbind(0), *expert.unbind(1)]",
        "[*expert.unbind(1), *general.unbind(0)]",
        ("dualprompt",),
    ),
    Fault(
        DUAL,
        "if task.index == 0:\n            started",
        "if True:\n            started",
        ("dualprompt",),
    ),
    Fault(
        DUAL,
        'min(s["general_blocks"], blocks - 1)',
        'min(s["general_blocks"] + 1, blocks - 1)',
        ("dualprompt",),
    ),
    Fault(
        DUAL,
        'min(s["expert_blocks"], blocks - self.general_blocks)',
        "blocks - self.general_blocks",
        ("dualprompt",),
    ),
    Fault(
        CODA,
        "query.square(), attention.square()",
        "query.square(), torch.ones_like(attention)",
        ("coda_prompt",),
    ),
    Fault(CODA, "dots * squares.clamp_min(1e-24).rsqrt()", "dots", ("coda_prompt",)),
    Fault(CODA, "keys = torch.nn.functional.normalize(keys, dim=-1)", "", ("coda_prompt",)),
    Fault(CODA, "return weights\n", "return weights.softmax(1)\n", ("coda_prompt",)),
    Fault(CODA, "rows = rows - basis @ (basis.mT @ rows)", "pass", ("coda_prompt",)),
    Fault(CODA, "(q * signs)", "q", ("coda_prompt",)),
    Fault(CODA, "return share\n", "return share - (share > 1)\n", ("coda_prompt",)),
    Fault(CODA, "return range(self.blocks)", "return range(1, self.blocks + 1)", ("coda_prompt",)),
    Fault(
        CODA,
        'self.every("attention"), self.every("keys")',
        'self.trained["attention"], self.trained["keys"]',
        ("coda_prompt",),
    ),
    Fault(CODA, "min(wanted, width) // task.count", "wanted // task.count", ("coda_prompt",)),
    Fault(DUAL, '        self.freeze("key")\n', "", ("dualprompt",)),
    Fault(DUAL, '        self.freeze("expert")\n', "", ("dualprompt",)),
]

TRAINING = [
    Fault(
        OPTIM,
        "quarter_cosine(max(epoch - 1, 0), self.length - 1)",
        "quarter_cosine(epoch, self.length - 1)",
        ("coda_prompt",),
    ),
    Fault(
        OPTIM,
        "min(epoch, self.length) / self.length",
        "min(epoch, self.length) / (self.length - 1)",
        ("ranpac",),
    ),
    Fault(
        OPTIM, "min(epoch, self.length) / self.length", "max(epoch - 1, 0) / self.length", ("ease",)
    ),
    Fault(OPTIM, "epoch >= at for at", "epoch + 1 >= at for at", ("slca",)),
    Fault(OPTIM, "self.drop_factor **", "(2 * self.drop_factor) **", ("slca",)),
    Fault(LOSSES, "labels - first)", "(labels - first).flip(0))", ("linear_probe",)),
    Fault(ADAPTER, "self.scale * self.up", "self.up", ("ease",)),
    Fault(ADAPTER, "functional.relu(self.down", "functional.gelu(self.down", ("ranpac",)),
    Fault(ADAPTER, "out + self.adapter(self.stream)", "out + self.adapter(x)", ("ranpac",)),
    Fault(ADAPTER, "out, self.stream = out + self", "out, self.stream = self", ("ranpac",)),
    Fault(HEADS, 'reduce="amax"', 'reduce="amin"', ("ncm on domains",)),
    Fault(HEADS_METHOD, "return task.fresh", "return task.classes", ("linear_probe on domains",)),
    Fault(
        HEADS,
        "nn.Parameter(torch.tensor([sigma]))",
        "nn.Parameter(torch.tensor([sigma]), requires_grad=False)",
        ("ranpac",),
    ),
    Fault(
        HEADS,
        "(unit @ functional.normalize(self.weight, dim=-1).mT)",
        "(unit @ self.weight.mT)",
        ("ease",),
    ),
    Fault(
        PROXY,
        '.parameters(), s["lr"]),\n                (self.proxy.parameters(), s["head_lr"])',
        '.parameters(), s["head_lr"]),\n                (self.proxy.parameters(), s["lr"])',
        ("ease on glyphs",),
    ),
    Fault(
        HEADS,
        "means = functional.normalize(means.float(), dim=-1)",
        "means = means.float()",
        ("ncm",),
    ),
    Fault(
        HEADS,
        "cosine = functional.normalize(features.float(), dim=-1) @ self",
        "cosine = features.float() @ self",
        ("ncm",),
    ),
    Fault(
        HEADS,
        "generator=draw) * self.deviation",
        "generator=draw) * self.deviation * 10",
        ("slca",),
    ),
    Fault(HEADS, "if self.zero_bias:", "if False:", ("slca",)),
    Fault(HEADS, "(2 * draw - 1) * width**-0.5", "(2 * draw - 1) * width**-1", ("ease",)),
    Fault(ADAPTER, "(2 * draw - 1) * weight.shape[1] ** -0.5", "(2 * draw - 1)", ("ease",)),
]

PROTOTYPES = [
    Fault(EASE, 'scores, "amax")', 'scores, "amin")', ("ease on domains",)),
    Fault(
        RANPAC,
        "functional.relu(features.float() @ self.projection)",
        "(features.float() @ self.projection)",
        ("ranpac",),
    ),
    Fault(RANPAC, "torch.randn(context.width, size", "torch.rand(context.width, size", ("ranpac",)),
    Fault(RANPAC, "self.gram.addmm_(rows.mT, rows)", "self.gram = rows.mT @ rows", ("ranpac",)),
    Fault(
        RANPAC,
        "self.moment.addmm_(rows.mT, targets)",
        "self.moment = rows.mT @ targets",
        ("ranpac",),
    ),
    Fault(
        RANPAC,
        "self.gram.addmm_(rows.mT, rows)",
        "self.gram.addmm_(rows.mT, rows, alpha=1 / len(rows))",
        ("ranpac",),
    ),
    Fault(RIDGE, "FITTED = 0.8", "FITTED = 0.75", ("ranpac, least error of 20 features",)),
    Fault(RIDGE, "range(-8, 9)", "range(-8, 1)", ("ranpac",)),
    Fault(RIDGE, "MARGIN = 0.01", "MARGIN = 0.1", ("ranpac",)),
    Fault(RIDGE, "MARGIN = 0.01", "MARGIN = 0.001", ("ranpac",)),
    Fault(RIDGE, "fit, held = order", "held, fit = order", ("ranpac",)),
    Fault(RANPAC, "task.epochs if task.index == 0 and", "task.epochs if", ("ranpac",)),
    Fault(RIDGE, "return max(p for p", "return min(p for p", ("ranpac",)),
    Fault(
        RIDGE,
        "shifted.diagonal().add_(penalty)\n    factor",
        "shifted.diagonal().add_(2 * penalty)\n    factor",
        ("ranpac",),
    ),
    Fault(
        RIDGE,
        "(right / (values + p)) - wanted).square()",
        "(right / (values + p)) - wanted).abs()",
        ("ranpac",),
    ),
    Fault(
        RANPAC,
        "torch.float32 if self.as_source else torch.float64",
        "torch.float64",
        ("ranpac, the authors' float32",),
    ),
    Fault(RIDGE, '== "within_1_percent"', '== "none"', ("ranpac",)),
    Fault(EASE, 'first = 1 if self.context.settings["resynthesise"] else', "first = ", ("ease",)),
    Fault(
        EASE,
        'first = 1 if self.context.settings["resynthesise"] else',
        "first = 1 if True else",
        ("ease, synthesised once, alpha 0.7",),
    ),
    Fault(EASE, ".softmax(dim=-1)\n", "\n", ("ease",)),
    Fault(EASE, ".softmax(dim=-1)\n", ".softmax(dim=0)\n", ("ease",)),
    Fault(
        EASE,
        "there = functional.normalize(prototypes[new][:, own], dim=-1)",
        "there = prototypes[new][:, own]",
        ("ease",),
    ),
    Fault(EASE, "tasks >= subspace\n", "tasks == tasks.max()\n", ("ease",)),
    Fault(EASE, "prototypes[new][:, own]", "prototypes[new][:, own * 0 + subspace]", ("ease",)),
    Fault(EASE, '["alpha"] / max(tasks - 1, 1)', '["alpha"]', ("ease",)),
    Fault(EASE, "max(tasks - 1, 1)", "tasks", ("ease",)),
    Fault(EASE, "weight.scatter_(1, self.row_tasks[:, None], 1.0)", "pass", ("ease",)),
    Fault(EASE, "functional.normalize(self.prototypes, dim=-1) *", "self.prototypes *", ("ease",)),
    Fault(EASE, "each[labels == c].mean(0)", "each[labels == c].sum(0)", ("ease",)),
]

ALIGNMENT = [
    Fault(
        ALIGN,
        "self.classes.repeat_interleave(count)",
        "torch.arange(len(self.classes)).remainder(7).repeat_interleave(count)",
        ("slca on domains",),
    ),
    Fault(
        ALIGN, "torch.full_like(present, task)", "torch.zeros_like(present)", ("slca on domains",)
    ),
    Fault(
        SLCA,
        "self.backbone.requires_grad_(True)",
        "self.backbone.norm.requires_grad_(True)",
        ("slca",),
    ),
    Fault(
        SLCA, "LinearHeads(width, deviation=0.02, zero_bias=True)", "LinearHeads(width)", ("slca",)
    ),
    Fault(ALIGN, "max(len(own) - 1, 1)", "len(own)", ("slca",)),
    Fault(
        ALIGN,
        "covariance.diagonal().add_(self.jitter)",
        "covariance.diagonal().add_(self.jitter / 10)",
        ("slca",),
    ),
    Fault(ALIGN, "centred = own - own.mean(0)", "centred = own", ("slca",)),
    Fault(
        ALIGN,
        "shrink = 0.9 + 0.1 * (self.tasks + 1) / (now + 1)",
        "shrink = torch.ones(len(self.tasks))",
        ("slca",),
    ),
    Fault(ALIGN, "(self.tasks + 1) / (now + 1)", "self.tasks / (now + 1)", ("slca",)),
    Fault(ALIGN, "@ root.mT)", "@ root)", ("slca",)),
    Fault(
        ALIGN,
        "torch.stack([part.norm(dim=-1) + 1e-7 for part in parts]).mean(0)",
        "logits.norm(dim=-1)",
        ("slca",),
    ),
    Fault(ALIGN, "for part in parts]).mean(0)", "for part in parts]).sum(0)", ("slca",)),
    Fault(ALIGN, "norms[:, None] / logit_norm", "norms.detach()[:, None] / logit_norm", ("slca",)),
    Fault(ALIGN, "norms[:, None] / logit_norm", "norms[:, None] * logit_norm", ("slca",)),
    Fault(ALIGN, '(1 + math.cos(math.pi * epoch / s["align_epochs"])) / 2', "1.0", ("slca",)),
    Fault(ALIGN, "momentum=0.9", "momentum=0.0", ("slca",)),
    Fault(ALIGN, "        heads.requires_grad_(True)\n", "", ("slca",)),
    Fault(ALIGN, 'if self.settings["align_restarts"]', "if False", ("slca",)),
    Fault(ALIGN, "if task.index == 0 or not", "if not", ("slca",)),
    Fault(ALIGN, "part.norm(dim=-1) + 1e-7", "part.norm(dim=-1)", ("slca",)),
    Fault(
        ALIGN, "key = (*self.key, task.index, epoch)", "key = (*self.key, task.index, 0)", ("slca",)
    ),
    Fault(
        ALIGN,
        "for batch in order.to(labels.device)",
        "for batch in order.sort().values.to(labels.device)",
        ("slca",),
    ),
    Fault(ALIGN, 'generator("align", *key, entry)', 'generator("align", *key)', ("slca",)),
]

EXPERTS = [
    Fault(COLOR, "return task.classes", "return max(task.classes - 1, 1)", ("color on domains",)),
    Fault(COLOR, 'if not self.context.settings["unit_features"]', "if True", ("color",)),
    Fault(COLOR, "nearest(self._clustered(queries), self", "nearest(queries, self", ("color",)),
    Fault(CLUSTERS, ".argmin(dim=1)", ".argmax(dim=1)", ("color",)),
    Fault(CLUSTERS, "RESTARTS = 10", "RESTARTS = 1", ("color",)),
    Fault(COLOR, "with self.expert(0):\n                yield", "yield", ("color_pp",)),
    Fault(
        COLOR,
        "layer.b.zero_()",
        "pass",
        ("color",),
    ),
    Fault(
        COLOR,
        "with self.expert(index):\n                own",
        "with self.expert(len(self.spans) - 1):\n                own",
        ("color",),
    ),
    Fault(COLOR, 'float("-inf"), device=images.device', "0.0, device=images.device", ("color",)),
    Fault(
        COLOR,
        "centroids(self._clustered(seen), count,",
        "centroids(self._clustered(seen), count - 1,",
        ("color",),
    ),
    Fault(COLOR, "(len(found),), task.index)", "(len(found),), 0)", ("color",)),
]

DEFAULTS = [
    Fault(CONF + "l2p.yaml", "key_weight: {default: 0.1,", "key_weight: {default: 1.0,", ("l2p",)),
    Fault(CONF + "l2p.yaml", "pool:       {default: 10,", "pool:       {default: 20,", ("l2p",)),
    Fault(CONF + "l2p.yaml", "schedule:   constant", "schedule:   cosine", ("l2p",)),
    Fault(
        CONF + "l2p.yaml", "  cifar100:\n    lr: 1.875e-3 ", "  cifar100:\n    lr: 1e-3 ", ("l2p",)
    ),
    Fault(CONF + "l2p_pp.yaml", "length:     20", "length:     10", ("l2p_pp",)),
    Fault(CONF + "l2p_pp.yaml", "key_pairs:  true", "key_pairs:  false", ("l2p_pp",)),
    Fault(
        CONF + "dualprompt.yaml",
        "general_length: {default: 6,",
        "general_length: {default: 10,",
        ("dualprompt",),
    ),
    Fault(
        CONF + "dualprompt.yaml",
        "key_weight:     {default: 1.0,",
        "key_weight:     {default: 0.1,",
        ("dualprompt",),
    ),
    Fault(
        CONF + "dualprompt.yaml",
        "expert_blocks:  {default: 3,",
        "expert_blocks:  {default: 2,",
        ("dualprompt",),
    ),
    Fault(
        CONF + "coda_prompt.yaml",
        "length:     {default: 8,",
        "length:     {default: 4,",
        ("coda_prompt",),
    ),
    Fault(CONF + "coda_prompt.yaml", "head_lr:    1e-3", "head_lr:    5e-4", ("coda_prompt",)),
    Fault(
        CONF + "_adapter.yaml",
        "adapter_scale: {default: 0.1,",
        "adapter_scale: {default: 1.0,",
        ("ranpac",),
    ),
    Fault(
        CONF + "_adapter.yaml",
        "bottleneck:    {default: 64,",
        "bottleneck:    {default: 32,",
        ("ranpac",),
    ),
    Fault(
        CONF + "ease.yaml",
        "head_lr: 0.05          # seen\n    weight_decay: 5e-3",
        "head_lr: 0.05          # seen\n    weight_decay: 5e-4",
        ("ease on imagenet_r",),
    ),
    Fault(
        CONF + "ease.yaml",
        "alpha:        {default: 0.1,",
        "alpha:        {default: 0.2,",
        ("ease",),
    ),
    Fault(
        CONF + "ranpac.yaml",
        "ridge_rule:   {default: within_1_percent,",
        "ridge_rule:   {default: least,",
        ("ranpac",),
    ),
    Fault(CONF + "slca.yaml", "drop_at:        0.9", "drop_at:        0.8", ("slca",)),
    Fault(
        CONF + "slca.yaml",
        "lr:             {default: 1e-4,",
        "lr:             {default: 1e-3,",
        ("slca",),
    ),
    Fault(
        CONF + "_align.yaml",
        "align_epochs:   {default: 5,",
        "align_epochs:   {default: 3,",
        ("slca",),
    ),
    Fault(
        CONF + "_align.yaml",
        "logit_norm:     {default: 0.1,",
        "logit_norm:     {default: 0.05,",
        ("slca",),
    ),
    Fault(
        CONF + "color.yaml",
        "unit_features: {default: true,",
        "unit_features: {default: false,",
        ("color",),
    ),
    Fault(
        CONF + "_head.yaml",
        "head_lr:      {default: 5e-4,",
        "head_lr:      {default: 1e-3,",
        ("linear_probe",),
    ),
    Fault(
        CONF + "color_pp.yaml",
        "settings:\n  reference: first_task",
        "settings:\n  reference: pretrained",
        ("color_pp",),
    ),
]

NO_FAULTS = [
    Fault(
        VIT,
        "    @torch.no_grad()\n    def query",
        "    def query",
        ("coda_prompt",),
        equal="a pass without prompts meets nothing that is trained: there is no gradient to stop",
    ),
    Fault(
        PROMPT,
        "self.every(name).detach().clone()",
        "self.every(name).clone()",
        ("coda_prompt",),
        equal="the gradient would reach tensors that no optimiser holds any more",
    ),
    Fault(
        RIDGE,
        "range(-8, 9)",
        "range(-7, 9)",
        ("ranpac",),
        equal="the largest penalty near the least error is never the smallest of the grid, unless "
        "features are of size 1e-4; by the least error, rounding chooses among those far below G",
    ),
]

FAULTS = [*NO_FAULTS, *PROMPTS, *TRAINING, *PROTOTYPES, *ALIGNMENT, *EXPERTS, *DEFAULTS]
