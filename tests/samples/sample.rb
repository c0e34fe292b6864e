# frozen_string_literal: true

require "json"

module Shop
  # A cart of things.
  class Cart < Base
    LIMIT = 3
    attr_reader :items, :owner

    # Creates the cart.
    #
    # @param owner [String]
    def initialize(owner, *rest, limit: LIMIT, **options, &block)
      @owner = owner
      @items = rest.map { |item| item.to_s }
      @@count ||= 0
    end

    def add(item)
      first, second = item.split(",")
      puts "adding #{first} items"
      return nil if second.nil?
      items.each do |entry, index|
        yield entry, index
      end
    rescue ArgumentError => error
      raise error
    end

    def self.build(name:) = new(name, limit: 1)
  end
end
