"""What is done with an event: leased, admitted, reported, settled. Plain asyncio over Redis; knows no Celery."""
