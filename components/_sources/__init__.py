"""Where a corpus comes from: one file per source, each giving a frame of the data contract."""
