#!/bin/sh
# The same as events while it is written; -N: curl shows each as it comes.
curl -sSN --fail-with-body "${HEARTH_URL:-http://127.0.0.1:8000}/v1/chat/completions" \
    -H "Authorization: Bearer ${HEARTH_API_KEY:-none}" \
    -d '{
        "messages": [{"role": "user", "content": "Why is the sky blue?"}],
        "max_tokens": 40,
        "stream": true,
        "stream_options": {"include_usage": true}
    }'
