// SHA-256 of names (FIPS 180-4). All else is hashed by WebCrypto, which takes as long for one name as for a whole message: it
// would work for seconds on one message of very many names.
import { concat, number } from "./bytes.js";

const initial = [
  0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
];
const constants = [
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

const rotated = (word: number, by: number): number => word >>> by | word << (32 - by);

/** The first word of the hash. */
export function firstWord(bytes: Uint8Array): number {
  const padding = new Uint8Array(64 - (bytes.length + 8) % 64);
  padding[0] = 0x80;
  const padded = concat(bytes, padding, number(bytes.length * 8, 8));
  const state = Int32Array.from(initial), words = new Int32Array(64), view = new DataView(padded.buffer);
  for (let at = 0; at < padded.length; at += 64) {
    for (let i = 0; i < 16; i++) words[i] = view.getInt32(at + 4 * i);
    addBlock(state, words);
  }
  return state[0]! >>> 0;
}

/** words has the block in its first 16, and gets the others. */
function addBlock(state: Int32Array, words: Int32Array): void {
  for (let i = 16; i < 64; i++) {
    const before = words[i - 15]!, last = words[i - 2]!;
    const a = rotated(before, 7) ^ rotated(before, 18) ^ before >>> 3, b = rotated(last, 17) ^ rotated(last, 19) ^ last >>> 10;
    words[i] = words[i - 16]! + a + words[i - 7]! + b;
  }
  let [a, b, c, d, e, f, g, h] = state as unknown as [number, number, number, number, number, number, number, number];
  for (let i = 0; i < 64; i++) {
    const one = h + (rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)) + (e & f ^ ~e & g) + constants[i]! + words[i]! | 0;
    const two = (rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)) + (a & b ^ a & c ^ b & c) | 0;
    h = g;
    g = f;
    f = e;
    e = d + one | 0;
    d = c;
    c = b;
    b = a;
    a = one + two | 0;
  }
  for (const [i, word] of [a, b, c, d, e, f, g, h].entries()) state[i]! += word;
}
