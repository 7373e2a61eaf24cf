"""From raw ratings and comparisons to opinion scores; NumPy and SciPy only."""
