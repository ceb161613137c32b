"""Checks of an answer by machine: verifiable instructions, answers, formats, code, safety, and a judge.

Rewards and evaluation share them. Whatever can run away on hostile text (regular expressions, computer algebra,
schemas, code) runs in a process of bounded time and memory.
"""
