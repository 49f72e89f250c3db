"""Neural Branching: an expert is asked at some nodes, a network learns its answers and branches."""
