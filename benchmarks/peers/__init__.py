"""The asyncio queues that one takes for speed, each at its best, doing otpreport's job without its promises."""
