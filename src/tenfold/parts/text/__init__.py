"""Text for language models (rooms jumprelu, scope, omni)."""
