"""What a world model is: filtering, dreaming, and what its state is made of."""
