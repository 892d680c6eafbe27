#!/bin/sh
# JSON that matches a schema, whatever the model would like to say.
curl -sS --fail-with-body "${HEARTH_URL:-http://127.0.0.1:8000}/v1/chat/completions" \
    -H "Authorization: Bearer ${HEARTH_API_KEY:-none}" \
    -d '{
        "messages": [{"role": "user", "content": "Ada is 36 years old and lives in London."}],
        "response_format": {
            "type": "json_schema",
            "json_schema": {
                "name": "person",
                "schema": {
                    "type": "object",
                    "properties": {
                        "city": {"enum": ["London", "Paris", "Oslo"]},
                        "age": {"type": "integer", "minimum": 0, "maximum": 150}
                    },
                    "required": ["city", "age"],
                    "additionalProperties": false
                }
            }
        }
    }'
