fails <- function(input) inherits(try(algorithm(input), silent = TRUE), "try-error")

stopifnot(identical(algorithm("Jane"), "Hello Jane"))
stopifnot(identical(algorithm(list(name = "Jane")), list(greeting = "Hello Jane")))
stopifnot(identical(algorithm(as.raw(c(0, 255))), as.raw(c(0, 255))))
stopifnot(fails(5), fails(NULL), fails(list()))
