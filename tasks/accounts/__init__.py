"""The states of the accounts, and what stops and resumes them."""
