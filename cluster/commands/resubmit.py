"""`resubmit`: the words of the last submission once more, under those typed now."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from cluster.commands.submission_words import store_of, sweep_of
from cluster.record.submission import repeat, submissions, words_of
from sweeps.show.console import log


def repeated_words(name: str, words: Sequence[str]) -> tuple[str, list[str]]:
    """For `resubmit`: sweep and words of the newest submission, under the words typed now."""
    found = submissions(store_of(words), sweep_of(name))
    if not found:
        return name, list(words)
    file, _ = words_of(found[-1])
    again = repeat(found[-1], words)
    log(f"repeats {found[-1].id}: {shlex.join([file, *again])}")
    return (name if name.endswith((".yaml", ".yml")) else file), again
