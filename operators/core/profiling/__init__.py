"""What sets of rows look like, in counts that name nobody."""
