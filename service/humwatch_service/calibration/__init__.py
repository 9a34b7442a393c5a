"""New versions of a model from live sound: when they are collected, fitted and used."""
