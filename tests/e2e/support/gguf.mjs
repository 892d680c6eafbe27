// Writes a copy of a GGUF file with further metadata, for models that only differ in what they say of themselves.
import { readFileSync, writeFileSync } from 'node:fs';

const SIZES = { 0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8 };
const STRING = 8;
const ARRAY = 9;

/** `from` with the members of `numbers` (key: unsigned 32-bit integer) added, as `to`. */
export function addMetadata(from, to, numbers) {
  const file = readFileSync(from);
  if (file.toString('latin1', 0, 4) !== 'GGUF') throw new Error(`${from} is no GGUF file`);
  const nTensors = Number(file.readBigUInt64LE(8));
  const nKeys = Number(file.readBigUInt64LE(16));
  let at = 24;
  let alignment = 32;
  const text = () => {
    const n = Number(file.readBigUInt64LE(at));
    at += 8 + n;
    return file.toString('utf8', at - n, at);
  };
  const skip = (type) => {
    if (type === STRING) {
      text();
    } else if (type === ARRAY) {
      const item = file.readUInt32LE(at);
      const n = Number(file.readBigUInt64LE(at + 4));
      at += 12;
      if (item === STRING) for (let i = 0; i < n; i++) text();
      else at += n * SIZES[item];
    } else {
      at += SIZES[type];
    }
  };
  for (let i = 0; i < nKeys; i++) {
    const key = text();
    const type = file.readUInt32LE(at);
    at += 4;
    if (key === 'general.alignment') alignment = file.readUInt32LE(at);
    skip(type);
  }
  const keysEnd = at;
  for (let i = 0; i < nTensors; i++) {
    text();
    at += 4 + 8 * file.readUInt32LE(at) + 4 + 8;
  }
  const padded = (n) => Math.ceil(n / alignment) * alignment;
  const more = Object.entries(numbers).map(([key, value]) => {
    const b = Buffer.alloc(8 + key.length + 8);
    b.writeBigUInt64LE(BigInt(key.length), 0);
    b.write(key, 8);
    b.writeUInt32LE(4, 8 + key.length);
    b.writeUInt32LE(value, 12 + key.length);
    return b;
  });
  const head = Buffer.concat([file.subarray(0, keysEnd), ...more, file.subarray(keysEnd, at)]);
  head.writeBigUInt64LE(BigInt(nKeys + more.length), 16);
  writeFileSync(to, Buffer.concat([head, Buffer.alloc(padded(head.length) - head.length), file.subarray(padded(at))]));
}
