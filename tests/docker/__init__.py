"""The images, the compose file, the manifests and the rules agree with the code and with their schemas."""
