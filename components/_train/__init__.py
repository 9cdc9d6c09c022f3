"""What `train` is made of: its parameters, the profiles, and the choice among losses."""
