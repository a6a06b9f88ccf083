"""The way of an event: leased, admitted, reported, settled. Plain asyncio over Redis, without Celery."""
