"""Parity: every method beside a second, independent writing of its source's formulas.

    frame.py      the product's side: a tiny network, a tiny bench, the loop, all in float64
    plain.py      what references are written with: a plain ViT, Adam, SGD, schedules
    ref_*.py      references, each from formulas alone, and their `CASES`
    mutants.py    small faults put into the product; how many of them the suite sees

`python -m tests.parity` prints the worst relative error of every method.
"""
