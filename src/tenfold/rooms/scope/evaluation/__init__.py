"""The pieces of the evaluation: passes of the model, sums over them, comparisons, tables."""
