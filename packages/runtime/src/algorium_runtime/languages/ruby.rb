# The pipe of Ruby: `ruby ruby.rb ENTRY`, or `ruby ruby.rb --check ENTRY` to only load it.
#
# ENTRY defines apply(input) at the top level. Strings in the encoding ASCII-8BIT are bytes, all
# others are text. Whatever apply raises is the answer, an exit included.
#
# Source: runtime specification, "Worker protocol".

$stdout.sync = true
$stderr.sync = true

if File.exist?('Gemfile') && File.read('Gemfile').match?(/^\s*(gem|gemspec)\b/)
  ENV['BUNDLE_GEMFILE'] = File.expand_path('Gemfile')
  ENV['BUNDLE_PATH'] = File.expand_path('vendor/bundle')
  ENV['BUNDLE_FROZEN'] = 'true'
  ENV['BUNDLE_APP_CONFIG'] = File.expand_path('.bundle')
  require 'bundler/setup'
end

require 'json'

# All of it in a module of its own: the top level belongs to the author.
module AlgoriumPipe
  FIFO = ENV['ALGORIUM_FIFO'] || '/tmp/algoout'

  def self.load_entry(entry)
    require File.expand_path(entry)
    return if Object.private_method_defined?(:apply) || Object.method_defined?(:apply)

    abort "#{entry} defines no method apply(input) at the top level"
  end

  def self.decode(line)
    request = JSON.parse(line)
    case request['content_type']
    when 'text', 'json' then request['data']
    when 'binary' then request['data'].unpack1('m')
    else raise ArgumentError, "Invalid content_type: #{request['content_type']}"
    end
  end

  def self.encode(result)
    type = 'json'
    if result.is_a?(String)
      type = result.encoding == Encoding::ASCII_8BIT ? 'binary' : 'text'
    end
    result = [result].pack('m0') if type == 'binary'
    JSON.generate({ result: result, metadata: { content_type: type } })
  end

  def self.describe(error)
    trace = (error.backtrace || []).reject { |line| line.start_with?(__FILE__) }.join("\n")
    texts = { message: error.message, stacktrace: trace, error_type: error.class.name }
    JSON.generate({ error: texts.transform_values { |text| readable(text) } })
  end

  def self.readable(text)
    text.to_s.dup.force_encoding('UTF-8').scrub
  end

  def self.answer(line)
    encode(TOPLEVEL.send(:apply, decode(line)))
  rescue Exception => e # rubocop:disable Lint/RescueException
    describe(e)
  end

  def self.serve
    $stdout.puts 'PIPE_INIT_COMPLETE'
    $stdin.set_encoding('UTF-8')
    File.open(FIFO, 'a') do |fifo|
      fifo.sync = true
      while (line = $stdin.gets)
        response = answer(line)
        $stdout.flush
        fifo.write(response, "\n")
      end
    end
  end
end

AlgoriumPipe::TOPLEVEL = self

is_check = ARGV.first == '--check'
ARGV.shift if is_check
AlgoriumPipe.load_entry(ARGV.shift)
AlgoriumPipe.serve unless is_check
