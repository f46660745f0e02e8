# Called once for every request. Text and JSON arrive as values, binary input as a raw vector;
# what is returned is sent back the same way.
algorithm <- function(input) {
  paste("Hello", input)
}
