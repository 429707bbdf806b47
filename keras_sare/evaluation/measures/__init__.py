"""What an evaluation of places measures beside recall: the answer to each query, and numbers made of all answers."""
