"""What it takes to run it: settings, rules, and what draws the dashboard."""
