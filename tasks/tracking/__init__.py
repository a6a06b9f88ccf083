"""OTPs: which were sent, which were verified in time, and what is reported of those that were not."""
