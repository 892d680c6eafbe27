#!/bin/sh
# Two turns of a conversation that the hub keeps: the second names the first.
set -e
url=${HEARTH_URL:-http://127.0.0.1:8000}
key="Authorization: Bearer ${HEARTH_API_KEY:-none}"

first=$(curl -sS --fail-with-body "$url/v1/responses" -H "$key" \
    -d '{"input": "My name is Ada. Say hello.", "max_output_tokens": 30}')
echo "$first"
id=$(echo "$first" | sed 's/.*"id":"\(resp_[0-9A-Za-z]*\)".*/\1/')

curl -sS --fail-with-body "$url/v1/responses" -H "$key" \
    -d "{\"input\": \"What is my name?\", \"previous_response_id\": \"$id\", \"max_output_tokens\": 30}"
echo
curl -sS --fail-with-body -X DELETE "$url/v1/responses/$id" -H "$key"
