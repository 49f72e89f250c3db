"""Pages of a suite: a static site with a view of every latent, which opens from disk."""

from __future__ import annotations

from tenfold.rooms.scope.dash.build import write_dash

__all__ = ["write_dash"]
