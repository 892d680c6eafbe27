#!/bin/sh
# One question, one answer.
curl -sS --fail-with-body "${HEARTH_URL:-http://127.0.0.1:8000}/v1/chat/completions" \
    -H "Authorization: Bearer ${HEARTH_API_KEY:-none}" \
    -d '{
        "messages": [
            {"role": "system", "content": "Answer in one sentence."},
            {"role": "user", "content": "Why is the sky blue?"}
        ],
        "max_tokens": 40
    }'
