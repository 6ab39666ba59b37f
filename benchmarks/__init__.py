"""Speed and memory, side by side with peers; see docs/performance.md."""
