"""Thirty real enforcers on a real quota service with a standby, broken on purpose: what they admit keeps the bound."""
