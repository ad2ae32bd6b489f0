"""Runs once, before training: checks a data set, packs its labels, cuts out its hands."""
