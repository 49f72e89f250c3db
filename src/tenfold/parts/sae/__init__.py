"""Looking into networks: taps, splices, harvests and dictionary files (rooms jumprelu, scope).

`sites` has the names of activations and `hooks` how they are reached; `taps` reads many in one
forward pass, `splice` puts something in their place, `rows` and `harvest` stream them or write
them to disk. `formats` has the dictionary files of other projects, `subject` a small language
model to look into.
"""
