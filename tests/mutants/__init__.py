"""Every protection switched off once, to see that its test fails: `make mutants`."""
