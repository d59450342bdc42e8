"""Learning from experience: training, adaptation, and what they leave on disk."""
