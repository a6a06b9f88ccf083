"""The queue: lease, settle, recover, each one atomic script."""
