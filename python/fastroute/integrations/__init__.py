"""Engines that teams run already, given fastroute's scorer."""
