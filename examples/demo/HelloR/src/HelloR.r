# Text and JSON arrive as values, binary input as a raw vector; what is returned is sent back the
# same way.
algorithm <- function(input) {
  if (is.raw(input)) {
    input
  } else if (is.character(input) && length(input) == 1) {
    paste("Hello", input)
  } else if (is.list(input) && !is.null(input$name)) {
    list(greeting = paste("Hello", input$name))
  } else {
    stop("text, bytes or an object with a name is expected")
  }
}
