"""What a worker may be asked to do: its parent names the desk that it opens, MODULE:CLASS.

A desk is made with the time its process began (ns) and a function that tells progress (done,
total). Its public methods are the commands: each takes the fields of its message by name and
returns those of the reply. The first one is `start`. They import NumPy, msgspec, safetensors and
threadpoolctl, and the code whose place they are told.
"""
