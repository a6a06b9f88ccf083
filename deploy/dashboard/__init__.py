"""The Grafana dashboard, written by `python -m deploy.dashboard` so that its parts stay alike."""
