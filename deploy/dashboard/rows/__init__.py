"""The dashboard's rows: what each panel asks, and why a person would look at it."""
