"""Nights through Airflow's scheduler, with faults drawn at random; see `__main__`."""
