"""How it runs: the Celery application and its pool, the engine, HTTP, metrics, the command line."""
