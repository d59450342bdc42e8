"""World models that work across many worlds."""
