from Algorithmia import ADK


# What load() returns, if it is neither None nor empty, becomes the second argument of apply():
# give apply() one then. A good place to fetch a model.
def load():
    return None


# Called once for every request. Text and JSON arrive as values, binary input as bytes; what is
# returned is sent back the same way. Raise an exception to answer with an error.
def apply(input):
    return f"hello {input}"


# Serves requests on the platform. On your own machine: python -m src.__ALGO__
algorithm = ADK(apply, load)
algorithm.init("Algorithmia")
