"""How good a policy or a model is: scores in files, and what may be concluded from them."""
