"""Hooks of one family, unit commitment: extra features and a decoder that knows plants.

`hooks.py` has the two functions that a dive takes, `features` and `decode`; `fleet.py` reads the
plants back from the rows of an instance, `dual.py` prices the hours by a Lagrangian dual,
`paths.py` finds the likeliest path of a plant that keeps to its least hours on and off.
"""
