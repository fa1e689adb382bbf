#!/bin/sh
# The command line in a pipe: the answer goes on, everything else goes to standard error. Run it: sh pipe.sh
# Who answers is described in DOC_USE.md; LOLLMS_HOST or LOLLMS_MODEL in front of it choose.
set -eu

# A text comes in, an answer goes out. -s is the system prompt, -o sets a parameter, -q says nothing besides.
echo "Ann is a doctor. She lives in Madrid. She likes tea." |
    lollms -q -o temperature 0 -s "You are a helpful assistant." "Summarise this in one sentence."

# Data instead of prose: --schema is a JSON Schema or, as here, names and types. The answer is checked against it.
lollms -q -o temperature 0 --schema "name, age int" "Extract the name and the age: Ann is 31 years old." |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["age"] + 1)'

# Only the code of an answer, without what stands around it: -x.
lollms -q -o temperature 0 -x "Write a Python function that adds two numbers."

# A failure has an exit code, and a sentence on standard error.
lollms -q -b openai --host http://127.0.0.1:9/v1 -m a-model "Hello?" 2>&1 || echo "exit code $?"
