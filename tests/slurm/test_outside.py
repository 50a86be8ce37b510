"""A method from outside on SLURM: the job imports the copy of its source."""

from __future__ import annotations

import shutil

from tests.slurm.help import ROOT


def test_a_job_imports_an_outside_method_from_the_submissions_copy(login):
    user = login(orders=1)
    package = user.folder / "my_method"
    shutil.copytree(ROOT / "examples" / "my_method" / "my_method", package)
    words = ("methods=[anchored_lora]", "profile.tasks=1", "profile.device=cpu")
    submission = user.submit(*words, f"--include={package}")
    (cell,) = submission.work[0]
    assert list(cell.sources) == ["method"]
    package.rename(user.folder / "gone")
    user.finish(submission, 300)
    result = user.store.result(cell.id)
    assert result is not None and result["identity"]["sources"] == dict(cell.sources)
    assert (submission.code / "outside" / "my_method" / "anchored_lora.yaml").is_file()
