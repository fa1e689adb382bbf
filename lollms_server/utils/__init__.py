"""Small helpers under the names that bindings and scripts of the lollms world import."""
