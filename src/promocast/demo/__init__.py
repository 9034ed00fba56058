"""The demo: the whole flow on one machine, for real, against stand-in providers that speak the real protocols."""
