#!/bin/sh
# PostgreSQL runs this once, at first start: creates a database and a user for Airflow and MLflow.
set -eu
for name in airflow mlflow; do
  upper=$(echo "$name" | tr a-z A-Z)
  # psql reads it from the environment: every user of the machine can read arguments.
  eval "export PASSWORD=\$${upper}_DB_PASSWORD"
  psql --username "${POSTGRES_USER:-postgres}" --set ON_ERROR_STOP=1 \
    --set name="$name" <<'SQL'
\getenv password PASSWORD
CREATE USER :"name" PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name" ENCODING 'UTF8' TEMPLATE template0;
SQL
done
