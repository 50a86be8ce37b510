"""The list of faults fits the product as it is, and a fault is seen."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.parity.frame import all_cases
from tests.parity.mutants import ROOT, faults

pytestmark = pytest.mark.slow  # the program tells the same; a product edited now need not stop here


def test_every_fault_stands_in_the_source_and_names_cases():
    names = {case.name for case in all_cases()}
    stale = [
        str(fault)
        for fault in faults([])
        if (ROOT / "janus" / fault.file).read_text().count(fault.old) != fault.times
        or not set(fault.cases) <= names
        or not fault.cases
    ]
    assert not stale, stale


def test_program_sees_a_fault_in_a_default():
    command = [sys.executable, "-m", "tests.parity.mutants", "conf/method/c_lora.yaml"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "1 of 1 faults seen" in ended.stdout
