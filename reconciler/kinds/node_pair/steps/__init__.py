"""The doing of every step of a node pair's change, divided by idea; `plan_steps` says which come when.

Each step is a function of the `Context`, over `work.Work`. Every one of them may be killed at any line and run again.
"""
