"""Dead letters: written, listed, replayed, purged, kept within bounds."""
