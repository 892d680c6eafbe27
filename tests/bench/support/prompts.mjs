// Prompts of an exact number of tokens that no cache has seen. Token ids go to the server as they
// are, so that a length is a length, whatever the vocabulary.

// xorshift32: the same numbers in every run, other ones for every prompt
let state = 0x9e3779b9;
function next() {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return state >>> 0;
}

// Ordinary tokens only: the lowest ids may be bytes or controls, the highest ones controls.
export const tokens = (n, vocab = 4000) => Array.from({ length: n }, () => 300 + (next() % (vocab - 600)));

const list = ["the", "fire", "in", "a", "hearth", "is", "warm", "and", "wood", "burns", "slowly", "under", "old", "stones", "while", "snow", "falls"];
export const words = (n) => Array.from({ length: n }, () => list[next() % list.length]).join(" ");
