"""What compare.py makes of damaged, foreign, doubled and missing runs: the table stands, and each
is named. Single damages of a result file, one by one: test_load.py."""

from __future__ import annotations

import json

from tests.analysis.conftest import add_methods


def test_damaged_files_are_named_and_counted_and_the_table_stands(fake, call):
    add_methods(fake)
    bad = fake.path(fake.add("janus", order=7))
    bad.write_text(bad.read_text()[:100])
    code, out, err = call()
    assert code == 0
    assert "janus" in out
    assert "1 file in the store is not a usable result" in err
    assert bad.name in err


def test_two_identities_of_one_place_are_not_averaged(fake, call):
    fake.add(order=0, acc=0.6)
    fake.add(order=0, acc=0.8, backbone__weights_sha256="1" * 64)  # declared later, same facts
    _, out, err = call("--columns", "acc")
    assert "70.00" not in out
    assert "repeats" in err


def test_foreign_and_half_written_files_leave_the_table_standing(fake, call):
    """Truncated, foreign, misnamed, NaN and temporary files: each is named or is no result."""
    add_methods(fake)
    folder = fake.path(fake.add("janus", order=7)).parent
    nan = fake.edit(fake.add("seqlora", order=7), lambda r: r["metrics"].update(acc=float("nan")))
    (folder / "notes.txt").write_text("mine")
    (folder / "foreign.json").write_text('{"epoch": 3}')
    (folder / ".half.json.tmp").write_text("{")
    code, out, err = call("--columns", "acc")
    assert code == 0
    assert "nan" not in out.lower()
    assert "2 files in the store are not usable results" in err
    assert nan.name in err and "foreign.json" in err
    assert "notes.txt" not in err and ".half" not in err


def test_one_method_that_lacks_a_seed_is_averaged_and_paired_over_what_is_there(fake, call):
    for seed in range(2):
        for order in range(3):
            fake.add("janus", 0.6 + seed / 10, order=order, seed=seed)
            if (order, seed) != (2, 1):
                fake.add("seqlora", 0.5 + seed / 10, order=order, seed=seed)
    _, out, err = call("--columns", "acc")
    assert "seqlora lacks order=2 seed=1, which janus has" in err
    assert "-10.00 ± 0.00" in out  # the unpaired seed of order 2 does not shift the difference


def test_a_single_run_has_no_spread_no_interval_and_no_stars(fake, call):
    fake.add("janus")
    fake.add("seqlora", 0.2)
    code, out, _ = call("--columns", "acc", "--details")
    assert code == 0
    assert "60.00 ± --" in out
    assert "±" in out and "--*" not in out and "00*" not in out
    assert "-40.00 ± --" in out and "1.0000" in out


def test_an_unpaired_order_is_reported_and_n_shows_it(fake, call):
    add_methods(fake)
    fake.add("janus", order=8)
    code, out, err = call()
    assert code == 0
    assert "seqlora lacks order=8 seed=0, which janus has" in err
    assert "(n = 3 orders)" in err
    assert out.splitlines()[4].split()[:2] == ["janus", "4"]


def test_a_copy_of_a_result_in_another_folder_is_named_and_not_used(fake, call):
    """Whatever it says, and whichever of the two the file system lists first."""
    cells = add_methods(fake)
    for cell, folder in zip(cells[:2], ("00", "zz"), strict=True):
        path = fake.path(cell)
        copy = path.parent.parent / folder / path.name
        copy.parent.mkdir(exist_ok=True)
        record = json.loads(path.read_text())
        record["metrics"]["acc"] = 0.9
        copy.write_text(json.dumps(record))
    code, out, err = call("--columns", "acc")
    assert code == 0
    assert "61.00 ± 1.00" in out and "71.00 ± 1.00" in out
    assert "2 files in the store are not usable results" in err
    assert f"belongs into results/{cells[0].id[:2]}" in err


def test_a_run_that_was_begun_and_left_is_no_result(fake, call):
    """Its folder has a claim, a heartbeat and half a provenance, and nothing was committed."""
    cells = add_methods(fake)
    begun = fake.cell("inflora", order=0)
    claim = fake.store.claim(begun)
    claim.beat({"step": 3})
    (claim.attempt_dir / "provenance.json").write_text('{"seconds": 1')
    claim.release()
    fake.plan("first", [*cells, begun])
    code, out, err = call("--sweep", "first")
    assert code == 3
    assert "inflora" not in out
    assert f"{begun.title}  (not run yet)" in err
