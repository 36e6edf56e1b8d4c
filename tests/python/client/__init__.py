"""Tests of the Python client: against a stand-in for the agent, and against the real one if KALE_AGENT_BIN names it.

Run with: python3 -m unittest discover -s tests/python/client -t tests/python
Types of libraries that are not installed are skipped, and counted as skipped.
"""
