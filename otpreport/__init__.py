"""Report OTP conversions to SMS providers through a queue: what a web app needs."""

from otpreport.event import Dispatch, Verification
from otpreport.receipt import Receipt, Receipts
from otpreport.reporter import Reporter

__all__ = ["Dispatch", "Receipt", "Receipts", "Reporter", "Verification"]
