"""Families of instances with real structure, each from a few numbers and a seed.

`FAMILIES` has them by name. The sizes are fixed: small takes SCIP 1 to 5 s on one core, mid 10 to
60 s, hard more than 60 s; they were chosen before any model was trained on them.
"""
