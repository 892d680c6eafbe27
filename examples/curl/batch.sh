#!/bin/sh
# Many requests in one file, answered when the hub has time.
set -e
url=${HEARTH_URL:-http://127.0.0.1:8000}
key="Authorization: Bearer ${HEARTH_API_KEY:-none}"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
member() { sed "s/.*\"$1\":\"\([^\"]*\)\".*/\1/"; }

for country in Norway Italy Japan; do
    echo "{\"custom_id\": \"$country\", \"method\": \"POST\", \"url\": \"/v1/chat/completions\"," \
        "\"body\": {\"messages\": [{\"role\": \"user\", \"content\": \"The capital of $country?\"}], \"max_tokens\": 20}}"
done > "$dir/requests.jsonl"

file=$(curl -sS --fail-with-body "$url/v1/files" -H "$key" -F purpose=batch -F "file=@$dir/requests.jsonl" | member id)
batch=$(curl -sS --fail-with-body "$url/v1/batches" -H "$key" \
    -d "{\"input_file_id\": \"$file\", \"endpoint\": \"/v1/chat/completions\", \"completion_window\": \"24h\"}" |
    sed 's/.*"id":"\(batch_[0-9A-Za-z]*\)".*/\1/')

while :; do
    state=$(curl -sS --fail-with-body "$url/v1/batches/$batch" -H "$key")
    case $(echo "$state" | member status) in
    completed | failed | expired | cancelled) break ;;
    esac
    sleep 1
done
echo "$state"
curl -sS --fail-with-body "$url/v1/files/$(echo "$state" | member output_file_id)/content" -H "$key"
