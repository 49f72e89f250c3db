"""Tree search with a network, and growing problem sizes (rooms extremal)."""
