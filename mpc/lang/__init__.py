"""The language: secret arrays that behave like NumPy's, functions, loops, programs."""
