"""Where photos were taken: maps that a server answers from, through gRPC and REST."""
