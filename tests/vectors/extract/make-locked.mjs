// Writes locked.pdf: one page of text, encrypted with the user password "hearth" (standard security
// handler, revision 3, RC4 with 128 bits: ISO 32000-1, 7.6.3). `node make-locked.mjs > locked.pdf`
import { createHash } from 'node:crypto';

const PAD = Buffer.from('28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A', 'hex');
const md5 = (...parts) => createHash('md5').update(Buffer.concat(parts)).digest();
const padded = (password) => Buffer.concat([Buffer.from(password, 'latin1'), PAD]).subarray(0, 32);

function rc4(key, data) {
  const s = Uint8Array.from({ length: 256 }, (_, i) => i);
  for (let i = 0, j = 0; i < 256; i++) {
    j = (j + s[i] + key[i % key.length]) & 255;
    [s[i], s[j]] = [s[j], s[i]];
  }
  const out = Buffer.alloc(data.length);
  for (let n = 0, i = 0, j = 0; n < data.length; n++) {
    i = (i + 1) & 255;
    j = (j + s[i]) & 255;
    [s[i], s[j]] = [s[j], s[i]];
    out[n] = data[n] ^ s[(s[i] + s[j]) & 255];
  }
  return out;
}
const rounds = (key, data) => {
  for (let i = 0; i < 20; i++) data = rc4(key.map((b) => b ^ i), data);
  return data;
};

const id = md5(Buffer.from('hearth test vector'));
const permissions = Buffer.alloc(4);
permissions.writeInt32LE(-4);
let ownerKey = md5(padded('owner'));
for (let i = 0; i < 50; i++) ownerKey = md5(ownerKey);
const O = rounds(ownerKey, padded('hearth'));
let key = md5(padded('hearth'), O, permissions, id);
for (let i = 0; i < 50; i++) key = md5(key);
const U = Buffer.concat([rounds(key, md5(PAD, id)), Buffer.alloc(16)]);

const content = Buffer.from('BT /F1 12 Tf 50 780 Td (Nobody reads this.) Tj ET');
const objectKey = md5(key, Buffer.from([5, 0, 0, 0, 0]));
const stream = rc4(objectKey, content);
const objects = [
  '<</Type/Catalog/Pages 2 0 R>>',
  '<</Type/Pages/Count 1/Kids[3 0 R]>>',
  '<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 5 0 R/Resources<</Font<</F1 4 0 R>>>>>>',
  '<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>',
  Buffer.concat([Buffer.from(`<</Length ${stream.length}>>\nstream\n`), stream, Buffer.from('\nendstream')]),
  `<</Filter/Standard/V 2/R 3/Length 128/P -4/O<${O.toString('hex')}>/U<${U.toString('hex')}>>>`,
];
const parts = [Buffer.from('%PDF-1.4\n')];
const size = () => parts.reduce((n, p) => n + p.length, 0);
const offsets = objects.map((object, i) => {
  const at = size();
  parts.push(Buffer.from(`${i + 1} 0 obj\n`), Buffer.from(object), Buffer.from('\nendobj\n'));
  return at;
});
const xref = size();
parts.push(Buffer.from(`xref\n0 ${objects.length + 1}\n0000000000 65535 f \n` +
  offsets.map((at) => `${String(at).padStart(10, '0')} 00000 n \n`).join('') +
  `trailer\n<</Size ${objects.length + 1}/Root 1 0 R/Encrypt 6 0 R/ID[<${id.toString('hex')}><${id.toString('hex')}>]>>\n` +
  `startxref\n${xref}\n%%EOF\n`));
process.stdout.write(Buffer.concat(parts));
