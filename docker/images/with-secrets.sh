#!/bin/sh
# Become the command, with the variables of every mounted file of secrets: none of them is in the image, in the compose
# file or in what `docker inspect` shows.
set -eu
set -a
for file in "${SECRETS_FOLDER:-/run/secrets}"/*.env; do
  # shellcheck source=/dev/null
  if [ -f "$file" ]; then . "$file"; fi
done
set +a
exec "$@"
