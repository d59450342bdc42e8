"""What learning costs: operations, time and memory of an update, against this machine's rate."""
