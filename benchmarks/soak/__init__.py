"""The soak: our real server under a random mix of good, rude and broken callers and backends, watched for growth.

`python -m benchmarks.soak [--minutes 10] [--seed N] [--write]`. Nothing may grow: memory, descriptors, threads, tasks,
child processes. No answer may be wrong, and the server must live to the end.

judge      what counts as growth; pure
house      configuration, backends and server, each in a process of its own
upstream   the backends' process
watched    the server's process: `lollms serve`, with a thread that counts tasks
sampling   looks at the server once a second
world      what all callers share
wire       HTTP on bare asyncio streams
callers    those who behave
rude       those who do not
disturb    reloads, signals, changed files, engines that are killed
report     the plot and the summary
"""
