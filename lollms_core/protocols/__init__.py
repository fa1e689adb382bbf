"""Provider protocols as codecs: calls to HTTP requests, bytes to batches of events."""
