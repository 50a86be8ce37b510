"""`python -m tests.parity [WORD ...]`: the worst relative error of each method, as a table.

WORD: only cases whose name holds one of them. Exit code 1 where a quantity is not equal.
"""

from __future__ import annotations

import sys
import time

import torch

from tests.parity.frame import BOUND, all_cases, check


def main(words: list[str]) -> int:
    """Print one line per case; the number of cases that differ, at most 1."""
    torch.set_num_threads(1)
    failed = 0
    print(f"{'case':<52} {'worst':>8}  CPU s  quantities")
    for case in all_cases():
        if words and not any(word in case.name for word in words):
            continue
        began = time.process_time()
        errors = check(case)
        worst = max(errors.values())
        failed += not worst <= BOUND
        each = ", ".join(f"{name} {value:.0e}" for name, value in errors.items())
        mark = "" if worst <= BOUND else "  DIFFERS"
        print(
            f"{case.name:<52} {worst:>8.0e}  {time.process_time() - began:5.1f}  {each}{mark}",
            flush=True,
        )
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
