# The pipe of R: `Rscript r.r ENTRY`, or `Rscript r.r --check ENTRY` to only load it.
#
# ENTRY defines algorithm(input). A raw vector is bytes, a character vector of length one is text.
# An ENTRY that serves itself, as those for the package `algorithmia` do, blocks while it is
# sourced, and nothing below matters.
#
# Source: runtime specification, "Worker protocol".

local({
  arguments <- commandArgs(trailingOnly = TRUE)
  is_check <- identical(arguments[1], "--check")
  entry <- arguments[length(arguments)]

  for (package in c("rjson", "base64enc")) {
    if (!requireNamespace(package, quietly = TRUE)) {
      stop(sprintf("the R package %s is not installed: apt-get install r-cran-%s", package, package))
    }
  }

  serves_itself <- any(grepl("getAlgorithmHandler[[:space:]]*[(]", readLines(entry, warn = FALSE)))
  if (is_check && serves_itself) {
    parse(entry)  # sourcing it would serve
    quit(save = "no", status = 0)
  }
  source(entry, local = globalenv())
  if (!exists("algorithm", envir = globalenv(), mode = "function")) {
    stop(sprintf("%s defines no function algorithm(input)", entry))
  }
  if (is_check) quit(save = "no", status = 0)

  failure <- function(stage, error) {
    text <- conditionMessage(error)
    described <- list(message = text, stacktrace = stage, error_type = "AlgorithmError")
    rjson::toJSON(list(error = described))
  }

  response <- function(output) {
    type <- "json"
    if (is.raw(output)) {
      type <- "binary"
      output <- if (length(output) > 0) base64enc::base64encode(output) else ""
    } else if (is.character(output) && length(output) == 1 && is.null(names(output))) {
      type <- "text"
      output <- enc2utf8(output)
    }
    encoded <- rjson::toJSON(output)
    sprintf("{\"result\":%s,\"metadata\":{\"content_type\":\"%s\"}}", encoded, type)
  }

  answer <- function(line) {
    stage <- "parsing"
    tryCatch({
      request <- rjson::fromJSON(line)
      input <- request$data
      if (identical(request$content_type, "binary")) input <- base64enc::base64decode(input)
      stage <- "algorithm"
      output <- get("algorithm", envir = globalenv(), mode = "function")(input)
      stage <- "response"
      response(output)
    }, error = function(e) failure(stage, e))
  }

  path <- Sys.getenv("ALGORIUM_FIFO", "/tmp/algoout")
  fifo <- file(path, open = "wb", raw = TRUE)
  requests <- file("stdin", open = "r", encoding = "UTF-8")
  cat("PIPE_INIT_COMPLETE\n")
  flush(stdout())
  while (length(line <- readLines(requests, n = 1, warn = FALSE, encoding = "UTF-8")) > 0) {
    text <- answer(line)
    flush(stdout())
    writeLines(text, fifo, useBytes = TRUE)
    flush(fifo)
  }
})
