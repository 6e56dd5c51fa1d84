"""What a person asks at seven in the morning, answered from the store: read only, each part on its own."""
