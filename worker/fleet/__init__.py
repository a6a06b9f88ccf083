"""The fleet as people look at it: one look, its JSON, and what needs attention."""
