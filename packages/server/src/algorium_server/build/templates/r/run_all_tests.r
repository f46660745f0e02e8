source("src/__ALGO__.r")

for (file in list.files("tests", pattern = "^test.*[.]r$", full.names = TRUE)) {
  source(file)
}
