"""How well holes are filled: the same crops and masks for every method, numbers with intervals."""
