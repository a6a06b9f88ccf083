"""Pictures of the Grafana dashboard, out of a run with trouble: `python -m benchmarks.dashboard`."""
