"""Statistical functions on numbers and arrays; they know nothing of runs or tables."""
