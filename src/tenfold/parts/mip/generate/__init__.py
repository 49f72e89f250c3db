"""Generators of instances with real structure, each from a few numbers and a seed.

`families.FAMILIES` has them by name and with fixed sizes.
"""
