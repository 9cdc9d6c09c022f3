"""Stand-ins for the commands that the DAG names after the stages."""
