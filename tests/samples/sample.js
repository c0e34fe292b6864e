import fs, { join as glue } from "fs";

/**
 * Keeps lines.
 */
export class Store extends Base {
  #secret = 1;
  constructor(path, { depth = 2, ...rest }) {
    super(path);
    this.path = path;
    this.depth = depth;
  }

  // Loads every line.
  // Twice if needed.
  load(callback) {
    const [head, tail] = fs.read(this.path).split("\n");
    for (const line of tail) callback(`${line} of ${this.path}`, head);
    return this.#secret + this.depth;
  }
}

const square = (n) => n * n;

// Double it.
export const twice = function (value) {
  let result = square(value) / value;
  return result;
};

module.exports.helper = () => { twice(glue("a", window.path)); };
