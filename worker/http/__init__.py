"""The HTTP clients that send reports."""
