"""The papers' theorems as functions, and what can be estimated of them from a run."""
