"""What code outside of the project adds, and what that does to the identity of cells."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from janus import __main__ as command
from janus import metrics, plugins
from janus.config import method_spec
from janus.config.cell import canonical, cell_from_dict, cell_record
from janus.config.compose import compose
from janus.config.help_text import list_methods
from janus.data.__main__ import main as data_command
from janus.errors import ConfigError
from janus.store.store import Store
from janus.training.loop import run_cell
from janus.weights.__main__ import run_command as weights_command
from tests.conftest import toy_cell
from tests.janus.weights.weight_sets import network, save

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "my_method" / "my_method"

METHOD = """
from janus.methods.base.lora_method import LoraMethod
from janus.plugins import register_method

@register_method({"name": "NAME", "title": "Mine", "summary": "A test.", "family": "lora",
                  "paper": "(none)", "revision": 1, "extends": ["_training", "_lora"]})
class Mine(LoraMethod):
    pass
"""


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is registered before a test, nor after it."""
    modules = set(sys.modules)
    for name in ("_entries", "_sources", "_included"):
        monkeypatch.setattr(plugins, name, {})
    monkeypatch.setattr(plugins, "_use_entry_points", True)
    known = dict(metrics.METRICS)
    yield
    for name in set(sys.modules) - modules:
        if name.partition(".")[0] in ("mine", "one", "two", "pack", "another", "my_method"):
            del sys.modules[name]
    metrics.METRICS.clear()
    metrics.METRICS.update(known)
    method_spec.method_spec.cache_clear()
    method_spec._parsed.cache_clear()


@pytest.fixture
def module(tmp_path: Path) -> Callable[..., Path]:
    """Writes a module of a user's own."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / f"{name}.py"
        path.write_text(text)
        return path

    return write


def forget(*names: str) -> None:
    """As in a new process."""
    for store in (plugins._entries, plugins._sources, plugins._included):
        store.clear()
    for name in names:
        del sys.modules[name]
    method_spec.method_spec.cache_clear()
    method_spec._parsed.cache_clear()


# ---- identity -----------------------------------------------------------------------------------
def test_cells_of_the_projects_own_keep_their_ids():
    """Written by the tree before there was an outside."""
    assert compose({}).id == "ed64bcbc3ca5216b"
    assert compose({"method": "seqlora", "order": "3"}).id == "d9ba8346083bec15"
    assert compose({"method": "ranpac", "bench": "cifar100"}).id == "3940d7dd63538a68"
    cell = compose({"bench": "glyphs_styles", "method": "l2p", "seed": 2})
    assert cell.id == "469c6208cb3f0c9c"
    assert "sources" not in cell.identity() and "sources" not in cell_record(cell)


def test_the_id_of_an_outside_method_holds_the_hash_of_its_source(module):
    plugins.include(module("mine", METHOD.replace("NAME", "mine")))
    cell = compose({"method": "mine"})
    digest = hashlib.sha256(canonical(cell.identity()).encode()).hexdigest()[:16]
    assert cell.id == digest == cell_from_dict(json.loads(json.dumps(cell_record(cell)))).id
    assert list(cell.identity()["sources"]) == ["method"]
    assert len(cell.sources["method"]) == 64


def test_changed_source_gives_a_new_id_and_the_same_source_elsewhere_the_old_one(tmp_path):
    ids = []
    for folder, more in (("a", ""), ("b", ""), ("c", "# changed\n")):
        package = tmp_path / folder / "mine"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("from mine import inner\n")
        (package / "inner.py").write_text(METHOD.replace("NAME", "mine"))
        (package / "helper.py").write_text(more)
        (package / "notes.txt").write_text(folder)
        plugins.include(package / "inner.py")
        ids.append(compose({"method": "mine"}).id)
        forget("mine", "mine.inner")
    assert ids[0] == ids[1] != ids[2]


def test_a_yaml_beside_a_single_module_counts_and_other_files_do_not(tmp_path):
    text = "from janus.plugins import register_backbone\nregister_backbone('small.yaml')\n"
    ids = []
    for depth, other in ((2, "x"), (2, "y"), (3, "x")):
        (tmp_path / "small.yaml").write_text(
            f"model: vit_tiny_patch16_224\nmodel_kwargs: {{depth: {depth}}}\nweights: random\n"
        )
        (tmp_path / "other.py").write_text(other)
        (tmp_path / "mine.py").write_text(text)
        plugins.include(tmp_path / "mine.py")
        ids.append(compose({"backbone": "small"}).sources["backbone"])
        forget("mine")
    assert ids[0] == ids[1] != ids[2]


def test_a_cell_planned_with_another_source_is_not_trained(module, tmp_path):
    plugins.include(module("mine", METHOD.replace("NAME", "mine")))
    cell = toy_cell("mine")
    forget("mine")
    plugins.include(module("mine", METHOD.replace("NAME", "mine") + "\n# changed\n"))
    with pytest.raises(ConfigError, match="source of method 'mine' changed"):
        run_cell(cell, Store(tmp_path / "store"))
    forget("mine")
    with pytest.raises(ConfigError, match="--include PATH"):
        run_cell(cell, Store(tmp_path / "store"))


# ---- what is refused ----------------------------------------------------------------------------
def one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The error that the command prints: one line, exit status 2."""
    assert command.run_command(words) == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1 and "Traceback" not in text
    return text


def test_a_name_of_the_projects_own_is_refused_naming_both_places(module, capsys):
    path = module("mine", METHOD.replace("NAME", "seqlora"))
    told = one_line(["--include", str(path), "--list", "methods"], capsys)
    assert "janus/conf/method/seqlora.yaml" in told and str(path) in told


def test_a_name_that_two_modules_have_is_refused_naming_both(module, capsys):
    one, two = (module(name, METHOD.replace("NAME", "mine")) for name in ("one", "two"))
    told = one_line(["--include", str(one), "--include", str(two), "--dry"], capsys)
    assert str(one) in told and str(two) in told


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import no_such_library", "No module named 'no_such_library'"),
        ("def broken(:", "SyntaxError"),
        ("raise SystemExit('bye')", "SystemExit: bye"),
        ("from janus.plugins import register_bench\nregister_bench('b.yaml')", "is no YAML file"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_line(text, reason, module, capsys):
    path = module("mine", text)
    told = one_line(["--include", str(path), "--dry"], capsys)
    assert reason in told and str(path.parent) in told
    assert not plugins.plugin_sources() and "mine" not in sys.modules


@pytest.mark.parametrize("name", ["json", "numpy", "sweeps", "two-words"])
def test_a_module_under_the_name_of_another_is_refused(name, module, capsys):
    told = one_line(["--include", str(module(name, "")), "--dry"], capsys)
    assert name in told and "rename" in told


def test_a_missing_module_and_a_folder_that_is_no_package_are_one_line(tmp_path, capsys):
    for path in (tmp_path / "nothing.py", tmp_path):
        assert "no such module" in one_line(["--include", str(path), "--dry"], capsys)


def test_a_declaration_with_a_wrong_or_missing_key_names_it(module, tmp_path):
    text = METHOD.replace("NAME", "mine")
    plugins.include(module("mine", text.replace('"paper"', '"papre"')))
    with pytest.raises(ConfigError, match="papre"):
        compose({"method": "mine"})


# ---- each interface -----------------------------------------------------------------------------
def test_list_methods_marks_those_from_outside():
    plugins.include(EXAMPLE)
    told = list_methods()
    lines = told[told.index("  anchored_lora") :].splitlines()
    assert any(line.split()[:2] == ["from", "outside:"] for line in lines[:9])
    assert told.count("from outside: ") == 1


def test_the_example_trains_and_its_penalty_is_what_its_yaml_says(tmp_path):
    plugins.include(EXAMPLE)
    free, pulled = (
        run_cell(toy_cell("anchored_lora", bench__tasks=2, method__pull=pull), Store(tmp_path))
        for pull in (0.0, 1e4)
    )
    plain = run_cell(toy_cell("seqlora", bench__tasks=2, method__lr=3e-4), Store(tmp_path))
    norms = [
        sum(map(sum, result["diagnostics"][0]["update_norm"].values()))
        for result in (free, pulled, plain)
    ]
    assert norms[0] == norms[2], "without the pull it is SeqLoRA"
    assert norms[1] < 0.5 * norms[0]


BENCH = """
import torch
from janus.data.images.images import Bench, Images
from janus.plugins import register_bench

def load(config):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(4).repeat(6)
    pixels = torch.randint(0, 255, (24, 1, 32, 32), generator=generator, dtype=torch.uint8)
    zeros = torch.zeros_like(labels)
    images = Images(store=pixels, labels=labels, domains=zeros, groups=torch.arange(24))
    return Bench(images, images, class_names=tuple("abcd"), domain_names=("all",), sha256="0" * 64)

register_bench({"name": "noise", "scenario": "class", "classes": 4, "tasks": 2, "backbone": "toy",
                "split_sha256": "0" * 64, "train": {"epochs": 1, "batch_size": 8}}, load)
"""


def test_a_bench_of_ones_own_is_loaded_and_trained(module, tmp_path):
    plugins.include(module("mine", BENCH))
    cell = compose({"bench": "noise", "method": "seqlora"})
    assert list(cell.sources) == ["bench"]
    result = run_cell(cell, Store(tmp_path))
    assert result is not None and result["total"] == [12, 12]


def test_a_bench_of_ones_own_is_checked_by_the_data_command(module, capsys):
    path = module("mine", BENCH)
    assert data_command(["check", "noise", "--include", str(path)]) == 0
    assert f"split official: SHA-256 {'0' * 64}" in capsys.readouterr().out


def test_a_backbone_of_ones_own_is_known_to_the_weights_command(module, tmp_path, capsys):
    text = """
from janus.plugins import register_backbone
register_backbone({"name": "thin", "model": "vit_tiny_patch16_224", "image_size": 32, "channels": 1,
                   "model_kwargs": {"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}})
"""
    weights = save(network(in_chans=1).state_dict(), tmp_path / "w.safetensors")
    words = ["--include", str(module("mine", text)), "check", str(weights), "--model", "thin"]
    assert weights_command(words) == 0
    assert "30 tensors" in capsys.readouterr().out


def test_a_metric_of_ones_own_is_computed_from_the_counts(module):
    text = """
from janus.metrics import Metric
from janus.plugins import register_metric
register_metric(Metric(key="worst", title="Worst", of=lambda m: min(m.final)))
"""
    plugins.include(module("mine", text))
    assert metrics.compute_metrics([[8, 0], [4, 9]], [10, 10])["worst"] == 0.4
    assert "worst" not in metrics.summarise([[8, 0], [4, 9]], [10, 10]), "results stay as they are"


def test_a_metric_that_exists_is_refused(module):
    text = """
from janus.metrics import Metric
from janus.plugins import register_metric
register_metric(Metric(key="acc", title="Worst", of=lambda m: 0.0))
"""
    before = metrics.METRICS["acc"]
    with pytest.raises(ConfigError, match=r"janus/metrics.py and in .*mine.py"):
        plugins.include(module("mine", text))
    assert metrics.METRICS["acc"] is before


TRACKER = """
from pathlib import Path
from janus.plugins import register_tracker

@register_tracker("lines")
class Lines:
    def __init__(self, cell, facts):
        self.path = Path(facts["store"]) / f"{cell.id}.txt"
    def notify(self, event, facts):
        with self.path.open("a") as stream:
            stream.write(event + "\\n")
    def close(self):
        self.notify("closed", {})
"""


def test_a_tracker_of_ones_own_hears_of_a_run(module, tmp_path, capsys):
    words = ["backbone=toy", "bench.tasks=2", "bench.train_per_class=2", "bench.test_per_class=2"]
    words += ["train.epochs=1", "method=seqlora", f"store={tmp_path}/runs", "tracker=lines"]
    assert "tracker must be none or wandb" in one_line(words, capsys)
    assert command.run_command(["--include", str(module("mine", TRACKER)), *words]) == 0
    (written,) = (tmp_path / "runs").glob("*.txt")
    events = written.read_text().split()
    assert events[0] == "start" and events[-2:] == ["done", "closed"]


# ---- entry points -------------------------------------------------------------------------------
@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str, str], Path]:
    """Installs a package of one module, as pip would."""

    def install(module: str, text: str, entries: str) -> Path:
        site = tmp_path / f"site_{module}"
        info = site / f"{module}-1.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(entries)
        (site / f"{module}.py").write_text(text)
        monkeypatch.syspath_prepend(str(site))
        return site / f"{module}.py"

    return install


def test_an_installed_method_is_listed_without_importing_it(installed):
    path = installed("pack", METHOD.replace("NAME", "mine"), "[janus.methods]\nmine = pack\n")
    assert "mine" in method_spec.spec_names("method") and "pack" not in sys.modules
    assert "mine" not in method_spec.readable_names("method")
    cell = compose({"method": "mine"})
    assert plugins.plugin_sources()[0].path == path and list(cell.sources) == ["method"]


@pytest.mark.parametrize(
    ("text", "entries", "reason"),
    [
        ("", "mine = pack", "registers no method of this name"),
        ("import no_such_library", "mine = pack", "No module named 'no_such_library'"),
        ("", "mine = nowhere_at_all", "No module named 'nowhere_at_all'"),
    ],
)
def test_an_entry_point_that_does_not_hold_is_one_line(text, entries, reason, installed, capsys):
    installed("pack", text, f"[janus.methods]\n{entries}\n")
    assert reason in one_line(["method=mine", "--dry"], capsys)


def test_an_included_package_takes_the_place_of_its_installed_self(installed, module):
    text = METHOD.replace("NAME", "mine")
    installed("pack", text, "[janus.methods]\nmine = pack\n")
    path = module("pack", text + "# newer\n")
    plugins.include(path)
    entry = plugins.find_plugin("method", "mine")
    assert entry is not None and entry.source.path == path


def test_an_installed_and_an_included_method_of_one_name_are_refused(installed, module):
    installed("pack", METHOD.replace("NAME", "mine"), "[janus.methods]\nmine = pack\n")
    path = module("another", METHOD.replace("NAME", "mine"))
    plugins.include(path)
    with pytest.raises(ConfigError, match="rename one of them") as error:
        compose({"method": "mine"})
    assert str(path) in str(error.value) and "pack" in str(error.value)


def test_a_look_for_entry_points_is_cheap_where_there_are_none():
    took = []
    for _ in range(9):
        plugins._scanned.cache_clear()
        start = time.perf_counter()
        plugins.plugin_names("method")
        took.append(time.perf_counter() - start)
    assert min(took) < 0.005


def test_another_process_knows_what_this_one_included(module):
    path = module("mine", METHOD.replace("NAME", "mine"))
    plugins.include(path)
    told, sha256 = json.loads(json.dumps(plugins.for_workers())), plugins.plugin_sources()[0].sha256
    forget("mine")
    plugins.restore(told)
    plugins.restore(told)
    entry = plugins.find_plugin("method", "mine")
    assert entry is not None and entry.source.sha256 == sha256
