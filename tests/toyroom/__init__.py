"""A room for tests: it counts. Registered as "toy" by the fixtures that need it."""

from pathlib import Path


def load(path: Path) -> str:
    return f"what {path.name} made"
