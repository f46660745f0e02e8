source("src/HelloR.r")

for (file in list.files("tests", pattern = "^test.*[.]r$", full.names = TRUE)) {
  source(file)
}
