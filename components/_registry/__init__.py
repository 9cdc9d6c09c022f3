"""Everything that talks to MLflow: versions, evidence, decisions, serving."""
