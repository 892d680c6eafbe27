#!/bin/sh
# Texts to vectors: near ones mean similar things.
curl -sS --fail-with-body "${HEARTH_URL:-http://127.0.0.1:8000}/v1/embeddings" \
    -H "Authorization: Bearer ${HEARTH_API_KEY:-none}" \
    -d '{"input": ["The cat sleeps.", "A kitten naps.", "Interest rates rise."]}'
