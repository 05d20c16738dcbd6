"""Benchmarks: ``python -m benchmarks SECTION``, see README.md beside this file."""
