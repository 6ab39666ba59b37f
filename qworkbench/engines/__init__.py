"""Engines: where lowered circuits run. ``open_engine`` finds one by its URI."""
