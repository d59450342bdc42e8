"""How to act: policies, values, and learning them in dreams or from transitions."""
