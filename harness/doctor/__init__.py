"""What disturbs a measurement on this machine, looked at and measured."""
