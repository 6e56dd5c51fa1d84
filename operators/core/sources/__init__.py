"""Reading landing files: listed by digest, checked against limits, whole or refused."""
