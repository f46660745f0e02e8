require 'minitest/autorun'
require_relative '__ALGO__'

class AlgorithmTest < Minitest::Test
  def test_it_says_hello
    assert_equal 'Hello Jane', apply('Jane')
  end
end
