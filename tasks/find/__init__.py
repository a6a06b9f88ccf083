"""What happened to one event: a read-only look into every place it can be."""
