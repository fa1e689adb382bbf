"""HTTP transports: one for threads, one for coroutines, the same behaviour."""
