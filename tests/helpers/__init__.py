"""What tests and benchmarks share; neither imports the other (tests/test_rooms.py)."""
