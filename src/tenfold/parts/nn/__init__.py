"""Networks shared by rooms: the decoder and its optimisers (rooms jumprelu, omni)."""
