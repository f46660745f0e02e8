stopifnot(identical(algorithm("Jane"), "Hello Jane"))
