"""Random valid StableHLO programs, typed by construction; a seed alone names a program.

The core draws from a ``random.Random``: a seeded one makes the program of a seed (`program.seeded`), one of hypothesis
makes a strategy that shrinks (`strategies`).
"""
