"""The reference pages under docs/, made from the code: `python -m worker.reference` writes them."""
