// What make.mjs is made of: words out of a seed, checksums, deflate.
import { deflateRawSync, deflateSync } from 'node:zlib';

const SYLLABLES = ['ka', 'lo', 'mer', 'tin', 'sa', 'ru', 'vel', 'no', 'dar', 'pe', 'fis', 'gu', 'ham', 'ter', 'li', 'on'];

/** Words that are the same for the same seed (xorshift32). */
export function words(seed) {
  let state = seed * 2654435761 >>> 0 || 1;
  const random = () => {
    state ^= state << 13;
    state >>>= 0;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state;
  };
  const next = () => Array.from({ length: 1 + (random() % 3) }, () => SYLLABLES[random() % SYLLABLES.length]).join('');
  next.random = random;
  return next;
}

const TABLE = Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xEDB88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});

export function crc32(data) {
  let c = 0xFFFFFFFF;
  for (const byte of data) c = TABLE[(c ^ byte) & 255] ^ (c >>> 8);
  return ~c >>> 0;
}

export const deflate = (data, zlib) => (zlib ? deflateSync(Buffer.from(data)) : deflateRawSync(data));
