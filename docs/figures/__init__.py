"""The figures of the documents, written from committed results by one command.

`python -m docs.figures` fills every part of a page that stands between `<!-- begin: NAME -->` and
`<!-- end: NAME -->`; a test fails where a page holds anything else there. This package is no part
of the product: it reads what `sweeps` plans and what `analysis` prints.
"""
