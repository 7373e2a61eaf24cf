"""From scores and opinion scores to the numbers of the literature; NumPy and SciPy only."""
