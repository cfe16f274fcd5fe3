"""The way into a run: the user's words become one frozen Plan, as data. Starts no process."""
