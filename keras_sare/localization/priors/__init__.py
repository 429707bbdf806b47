"""What is known of photos before they are looked at, and how an index is asked for it."""
