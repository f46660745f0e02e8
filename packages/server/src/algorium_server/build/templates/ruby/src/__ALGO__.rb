# Called once for every request. Text and JSON arrive as values, binary input as a string in the
# encoding ASCII-8BIT; what is returned is sent back the same way.
def apply(input)
  "Hello #{input}"
end
