"""Statistical functions on numbers and arrays; they do not depend on runs or tables."""
