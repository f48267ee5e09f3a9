"""Training of all networks: one module for each stage of the pipeline, one loop for all (:mod:`.loop`)."""
