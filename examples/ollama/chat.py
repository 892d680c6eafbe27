"""Talks to a hub through Ollama's API with nothing but Python's own library: a streamed chat, then a tool.

    OLLAMA_HOST=http://127.0.0.1:8000 python3 examples/ollama/chat.py [model]
"""
import json
import os
import sys
import urllib.request

HOST = os.environ.get("OLLAMA_HOST", "http://127.0.0.1:11434").rstrip("/")
MODEL = sys.argv[1] if len(sys.argv) > 1 else "hearth-tiny"


def post(path, body):
    """Each line of the answer, parsed."""
    headers = {"Content-Type": "application/json"}
    if os.environ.get("HEARTH_API_KEY"):
        headers["Authorization"] = "Bearer " + os.environ["HEARTH_API_KEY"]
    request = urllib.request.Request(HOST + path, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as answer:
        for line in answer:
            if line.strip():
                yield json.loads(line)


def chat(messages, **more):
    """Prints the answer while it comes; returns the message as a whole."""
    message = {"role": "assistant", "content": ""}
    for piece in post("/api/chat", {"model": MODEL, "messages": messages, **more}):
        print(piece["message"]["content"], end="", flush=True)
        message["content"] += piece["message"]["content"]
        message.setdefault("tool_calls", []).extend(piece["message"].get("tool_calls", []))
        if piece["done"]:
            print(f"\n[{piece['eval_count']} tokens, {piece['total_duration'] / 1e9:.2f} s]")
    return message


WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}

chat([{"role": "user", "content": "Hello, who are you?"}], options={"num_predict": 32})
talk = [{"role": "user", "content": "What is the weather in Paris?"}]
answer = chat(talk, tools=[WEATHER], options={"num_predict": 80, "temperature": 0})
for call in answer["tool_calls"]:
    print("called:", call["function"]["name"], json.dumps(call["function"]["arguments"]))
