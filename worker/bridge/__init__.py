"""Between Celery and the asyncio loop: beside worker/celery.py the only files that import celery or kombu."""
