// Writes the documents that bench_extract reads: node make.mjs <folder>. The same bytes every time.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32, deflate, words } from './parts.mjs';

const folder = process.argv[2];
mkdirSync(folder, { recursive: true });
const next = words(1);
const sentence = () => {
  const s = Array.from({ length: 8 + (next.random() % 12) }, () => next()).join(' ');
  return s[0].toUpperCase() + s.slice(1) + '.';
};
const paragraph = () => Array.from({ length: 4 + (next.random() % 4) }, sentence).join(' ');
const wrap = (text, width) => text.match(new RegExp(`.{1,${width}}(?: |$)`, 'g')).map((l) => l.trim());

/** Pages of text, 12 points, packed as printers of PDF do. */
function pdf(pages) {
  const parts = [Buffer.from('%PDF-1.5\n')];
  const offsets = [];
  let size = parts[0].length;
  const object = (number, ...content) => {
    offsets[number] = size;
    const all = Buffer.concat([Buffer.from(`${number} 0 obj\n`), ...content.map((c) => Buffer.from(c)), Buffer.from('\nendobj\n')]);
    parts.push(all);
    size += all.length;
  };
  const kids = [];
  for (let i = 0; i < pages; i++) {
    const lines = [];
    while (lines.length < 46) lines.push(...wrap(paragraph(), 85), '');
    const text = lines.slice(0, 46).map((l) => `(${l}) Tj T*`).join('\n');
    const stream = deflate(`BT /F1 11 Tf 60 780 Td 15 TL\n${text}\nET`, true);
    object(4 + 2 * i, `<</Length ${stream.length}/Filter/FlateDecode>>\nstream\n`, stream, '\nendstream');
    object(5 + 2 * i, `<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents ${4 + 2 * i} 0 R/Resources<</Font<</F1 3 0 R>>>>>>`);
    kids.push(`${5 + 2 * i} 0 R`);
  }
  object(1, '<</Type/Catalog/Pages 2 0 R>>');
  object(2, `<</Type/Pages/Count ${pages}/Kids[${kids.join(' ')}]>>`);
  object(3, '<</Type/Font/Subtype/Type1/BaseFont/Times-Roman>>');
  const count = 4 + 2 * pages;
  const table = Array.from({ length: count - 1 }, (_, i) => `${String(offsets[i + 1]).padStart(10, '0')} 00000 n \n`).join('');
  parts.push(Buffer.from(`xref\n0 ${count}\n0000000000 65535 f \n${table}trailer\n<</Size ${count}/Root 1 0 R>>\nstartxref\n${size}\n%%EOF\n`));
  return Buffer.concat(parts);
}

function zip(members) {
  const parts = [];
  const directory = [];
  let at = 0;
  for (const [name, text] of members) {
    const data = Buffer.from(text);
    const packed = deflate(data, false);
    const local = Buffer.alloc(30);
    local.write('PK\x03\x04', 0, 'latin1');
    local.writeUInt16LE(20, 4);
    local.writeUInt16LE(8, 8);
    local.writeUInt32LE(crc32(data), 14);
    local.writeUInt32LE(packed.length, 18);
    local.writeUInt32LE(data.length, 22);
    local.writeUInt16LE(name.length, 26);
    const central = Buffer.alloc(46);
    central.write('PK\x01\x02', 0, 'latin1');
    central.writeUInt16LE(20, 4);
    local.copy(central, 6, 4, 30);
    central.writeUInt32LE(at, 42);
    parts.push(local, Buffer.from(name), packed);
    directory.push(central, Buffer.from(name));
    at += 30 + name.length + packed.length;
  }
  const dir = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06', 0, 'latin1');
  end.writeUInt16LE(members.length, 8);
  end.writeUInt16LE(members.length, 10);
  end.writeUInt32LE(dir.length, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...parts, dir, end]);
}

const main = 'http://schemas.openxmlformats.org';
const docx = (n) => zip([['[Content_Types].xml', '<Types/>'], ['word/document.xml',
  `<w:document xmlns:w="${main}/wordprocessingml/2006/main"><w:body>` +
  Array.from({ length: n }, () => `<w:p w:rsidR="00A77B3E"><w:r><w:rPr><w:sz w:val="22"/></w:rPr><w:t>${paragraph()}</w:t></w:r></w:p>`).join('') +
  '</w:body></w:document>']]);

function xlsx(rows, columns) {
  const cell = (r, c) => (c % 3 ? `<c r="${String.fromCharCode(65 + c)}${r}"><v>${next.random() % 100000}</v></c>`
    : `<c r="${String.fromCharCode(65 + c)}${r}" t="inlineStr"><is><t>${next()} ${next()}</t></is></c>`);
  const row = (r) => `<row r="${r}">${Array.from({ length: columns }, (_, c) => cell(r, c)).join('')}</row>`;
  const ns = `xmlns="${main}/spreadsheetml/2006/main" xmlns:r="${main}/officeDocument/2006/relationships"`;
  return zip([
    ['xl/workbook.xml', `<workbook ${ns}><sheets><sheet name="Data" sheetId="1" r:id="r1"/></sheets></workbook>`],
    ['xl/_rels/workbook.xml.rels', `<Relationships xmlns="${main}/package/2006/relationships"><Relationship Id="r1" Type="x/worksheet" Target="worksheets/sheet1.xml"/></Relationships>`],
    ['xl/worksheets/sheet1.xml', `<worksheet ${ns}><sheetData>${Array.from({ length: rows }, (_, r) => row(r + 1)).join('')}</sheetData></worksheet>`],
  ]);
}

const html = (n) => '<!doctype html><html><head><meta charset="utf-8"><title>Page</title></head><body>' +
  Array.from({ length: n }, (_, i) => `<h2>Part ${i}</h2><p class="x">${paragraph()} <a href="#">${next()}</a></p><ul><li>${next()}<li>${next()}</ul>`).join('\n');

writeFileSync(join(folder, '300-pages.pdf'), pdf(300));
writeFileSync(join(folder, 'long.docx'), docx(4000));
writeFileSync(join(folder, 'rows.xlsx'), xlsx(20000, 12));
writeFileSync(join(folder, 'page.html'), html(4000));
writeFileSync(join(folder, 'plain.txt'), Array.from({ length: 30000 }, paragraph).join('\n\n'));
