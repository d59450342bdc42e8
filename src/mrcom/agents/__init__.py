"""The methods, as data and as agents: read these with the papers."""
