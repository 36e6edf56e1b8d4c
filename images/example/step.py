"""A step: takes a number from the one before if there is one, and saves the next."""

import os

import kale_agent

before = os.environ.get("BEFORE")
number = kale_agent.load(before) + 1 if before else 1
kale_agent.save("number", number)
print(f"number {number}")
