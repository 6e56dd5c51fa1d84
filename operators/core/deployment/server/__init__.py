"""The model server: Open Inference Protocol v2 over REST, several versions resident, the split made inside.

Started as `python -m operators.core.deployment.server`. Loads neither torch nor the storage clients to serve what it
already holds, so a killed server answers again about a second after its supervisor restarts it.
"""
