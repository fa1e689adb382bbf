"""Scripted models for tests, as values."""
