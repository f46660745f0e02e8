require 'minitest/autorun'
require_relative 'HelloRuby'

class HelloRubyTest < Minitest::Test
  def test_text_is_greeted
    assert_equal 'Hello Jane', apply('Jane')
  end

  def test_a_name_is_greeted
    assert_equal({ greeting: 'Hello Jane' }, apply({ 'name' => 'Jane' }))
  end

  def test_bytes_come_back
    assert_equal "\x00\xff".b, apply("\x00\xff".b)
  end

  def test_everything_else_is_an_error
    assert_raises(ArgumentError) { apply(5) }
    assert_raises(KeyError) { apply({}) }
  end
end
