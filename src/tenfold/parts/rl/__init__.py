"""Reinforcement learning on arrays: environments, replay, targets (rooms triad, vdn, ctf)."""
