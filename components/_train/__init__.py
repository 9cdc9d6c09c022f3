"""What `train` is made of: parameters, features, the two profiles, and the choice among losses."""
