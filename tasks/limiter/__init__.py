"""The rate limiter: each rate group's slots, given out by Redis."""
