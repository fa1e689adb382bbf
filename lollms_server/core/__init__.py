"""What stands behind the routes: configuration, bindings, scheduling, requests."""
