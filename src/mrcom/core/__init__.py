"""What everything may know: types, errors, random keys, numerics."""
