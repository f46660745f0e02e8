# Text and JSON arrive as values, binary input as a string in the encoding ASCII-8BIT; what is
# returned is sent back the same way.
def apply(input)
  case input
  when String
    input.encoding == Encoding::ASCII_8BIT ? input : "Hello #{input}"
  when Hash
    { greeting: "Hello #{input.fetch('name')}" }
  else
    raise ArgumentError, 'text, bytes or an object with a name is expected'
  end
end
