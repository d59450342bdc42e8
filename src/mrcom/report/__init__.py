"""What a run shows: tables, figures and the claims that hold in it."""
