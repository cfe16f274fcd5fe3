"""What a session does, phase by phase: functions of the run's `State`, called in order by it.

`judging` trains what everything is compared with; `agreement` takes the rungs up to lockstep and
the trajectory's start; `learning` trains freely and finds the envelope; `operators` asks for
single operators; `timing` times steps; `keeping` keeps tensors for a reproduction. They measure and
judge nothing: findings come from the stored record.
"""
