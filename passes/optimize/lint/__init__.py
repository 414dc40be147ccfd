"""Checks that report what a program does and may not mean to; none of them changes it."""
