"""Stand-ins for the commands that the DAG runs besides the stages."""
