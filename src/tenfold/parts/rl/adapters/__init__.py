"""Environments of other libraries and of users as batches of copies (rooms triad, vdn, ctf)."""
