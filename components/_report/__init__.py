"""What `report` reads: the files of other stages, and every model's scores as they are served."""
