"""Making a trained model small and fast, and proving what that cost."""
