"""What chooses the epoch that is kept."""
