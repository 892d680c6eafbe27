// Makes the documents of the labelled set: `node evals/retrieval/make.mjs FOLDER`.
//
// sources/NAME is copied as it is; sources/NAME.FORMAT.md becomes NAME.FORMAT, written here byte by byte
// and without dates, so that the same sources give the same files everywhere. In them `---` on a line
// of its own begins a page (pdf), a slide (pptx), a sheet (xlsx) or a chapter (epub).
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { crc32 as zlibCrc } from 'node:zlib';

import { generatedQuestions, generatedSources } from './generate.mjs';

const here = dirname(fileURLToPath(import.meta.url));

// ---- a zip, stored --------------------------------------------------------------------------------

const table = Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});

function crc32(bytes) {
  if (zlibCrc) return zlibCrc(bytes);
  let c = 0xffffffff;
  for (const b of bytes) c = table[(c ^ b) & 255] ^ (c >>> 8);
  return (c ^ 0xffffffff) >>> 0;
}

function zip(files) {
  const parts = [];
  const central = [];
  let at = 0;
  for (const [name, text] of files) {
    const data = Buffer.from(text);
    const head = Buffer.alloc(30);
    head.writeUInt32LE(0x04034b50, 0);
    head.writeUInt16LE(20, 4);
    head.writeUInt16LE(0x21, 12); // 1 January 1980
    head.writeUInt32LE(crc32(data), 14);
    head.writeUInt32LE(data.length, 18);
    head.writeUInt32LE(data.length, 22);
    head.writeUInt16LE(name.length, 26);
    const entry = Buffer.alloc(46);
    entry.writeUInt32LE(0x02014b50, 0);
    entry.writeUInt16LE(20, 4);
    head.copy(entry, 6, 4, 30);
    entry.writeUInt32LE(at, 42);
    parts.push(head, Buffer.from(name), data);
    central.push(entry, Buffer.from(name));
    at += 30 + name.length + data.length;
  }
  const size = central.reduce((n, b) => n + b.length, 0);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(files.length, 8);
  end.writeUInt16LE(files.length, 10);
  end.writeUInt32LE(size, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...parts, ...central, end]);
}

// ---- the sources' markup ---------------------------------------------------------------------------

/** [[block, ...], ...]: pages of {kind: 'heading', level, text} | paragraph | item | table with rows. */
function parse(text) {
  return text.split(/^---$/m).map((page) => {
    const blocks = [];
    for (const piece of page.trim().split(/\n{2,}/)) {
      const lines = piece.split('\n');
      if (!piece) continue;
      const heading = /^(#+) (.*)$/.exec(lines[0]);
      if (heading) blocks.push({ kind: 'heading', level: heading[1].length, text: heading[2] });
      else if (lines[0].startsWith('| ')) {
        const rows = lines.filter((l) => !/^\| ---/.test(l)).map((l) => l.slice(2, -2).split(' | '));
        blocks.push({ kind: 'table', rows });
      } else if (lines[0].startsWith('- ')) {
        for (const l of lines) blocks.push({ kind: 'item', text: l.slice(2) });
      } else blocks.push({ kind: 'paragraph', text: lines.join(' ') });
    }
    return blocks;
  });
}

const plain = (s) => s.replace(/[*`]/g, '');
const xml = (s) => plain(s).replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
const head = '<?xml version="1.0" encoding="UTF-8"?>\n';

// ---- Office ----------------------------------------------------------------------------------------

const PACKAGE = 'http://schemas.openxmlformats.org/package/2006';
const OFFICE = 'http://schemas.openxmlformats.org/officeDocument/2006/relationships';
const TYPE = 'application/vnd.openxmlformats-officedocument';

const relations = (list) => `${head}<Relationships xmlns="${PACKAGE}/relationships">` +
  list.map(([id, type, target]) => `<Relationship Id="${id}" Type="${OFFICE}/${type}" Target="${target}"/>`).join('') +
  '</Relationships>';
const contentTypes = (list) => `${head}<Types xmlns="${PACKAGE}/content-types">` +
  '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>' +
  '<Default Extension="xml" ContentType="application/xml"/>' +
  list.map(([part, type]) => `<Override PartName="${part}" ContentType="${TYPE}.${type}+xml"/>`).join('') + '</Types>';

function docx(pages) {
  const run = (text) => `<w:r><w:t xml:space="preserve">${xml(text)}</w:t></w:r>`;
  const styled = (style, text) => `<w:p><w:pPr><w:pStyle w:val="${style}"/></w:pPr>${run(text)}</w:p>`;
  const body = pages.flat().map((b) => {
    if (b.kind === 'heading') return styled(`Heading${b.level}`, b.text);
    if (b.kind === 'item') return styled('ListParagraph', b.text);
    if (b.kind === 'paragraph') return `<w:p>${run(b.text)}</w:p>`;
    return `<w:tbl>${b.rows.map((r) => `<w:tr>${r.map((c) => `<w:tc><w:p>${run(c)}</w:p></w:tc>`).join('')}</w:tr>`).join('')}</w:tbl>`;
  }).join('');
  const ns = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"';
  const styles = [1, 2, 3].map((n) => `<w:style w:type="paragraph" w:styleId="Heading${n}"><w:name w:val="heading ${n}"/>` +
    `<w:pPr><w:outlineLvl w:val="${n - 1}"/></w:pPr></w:style>`).join('');
  return zip([
    ['[Content_Types].xml', contentTypes([['/word/document.xml', 'wordprocessingml.document.main'], ['/word/styles.xml', 'wordprocessingml.styles']])],
    ['_rels/.rels', relations([['rId1', 'officeDocument', 'word/document.xml']])],
    ['word/_rels/document.xml.rels', relations([['rId1', 'styles', 'styles.xml']])],
    ['word/document.xml', `${head}<w:document ${ns}><w:body>${body}</w:body></w:document>`],
    ['word/styles.xml', `${head}<w:styles ${ns}>${styles}</w:styles>`],
  ]);
}

function pptx(pages) {
  const a = 'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"';
  const p = 'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main"';
  const r = `xmlns:r="${OFFICE}"`;
  const shape = (id, type, texts) => `<p:sp><p:nvSpPr><p:cNvPr id="${id}" name="${type}"/><p:cNvSpPr/><p:nvPr><p:ph type="${type}"/></p:nvPr></p:nvSpPr>` +
    `<p:spPr/><p:txBody><a:bodyPr/>${texts.map((t) => `<a:p><a:r><a:t>${xml(t)}</a:t></a:r></a:p>`).join('')}</p:txBody></p:sp>`;
  const slides = pages.map((blocks) => {
    const title = blocks.filter((b) => b.kind === 'heading').map((b) => b.text);
    const rest = blocks.filter((b) => b.kind !== 'heading').map((b) => b.text);
    return `${head}<p:sld ${a} ${r} ${p}><p:cSld><p:spTree><p:nvGrpSpPr><p:cNvPr id="1" name=""/><p:cNvGrpSpPr/><p:nvPr/></p:nvGrpSpPr><p:grpSpPr/>` +
      `${shape(2, 'title', title)}${rest.length ? shape(3, 'body', rest) : ''}</p:spTree></p:cSld></p:sld>`;
  });
  const ids = slides.map((_, i) => `<p:sldId id="${256 + i}" r:id="rId${i + 1}"/>`).join('');
  return zip([
    ['[Content_Types].xml', contentTypes([['/ppt/presentation.xml', 'presentationml.presentation.main'],
      ...slides.map((_, i) => [`/ppt/slides/slide${i + 1}.xml`, 'presentationml.slide'])])],
    ['_rels/.rels', relations([['rId1', 'officeDocument', 'ppt/presentation.xml']])],
    ['ppt/presentation.xml', `${head}<p:presentation ${a} ${r} ${p}><p:sldIdLst>${ids}</p:sldIdLst></p:presentation>`],
    ['ppt/_rels/presentation.xml.rels', relations(slides.map((_, i) => [`rId${i + 1}`, 'slide', `slides/slide${i + 1}.xml`]))],
    ...slides.map((s, i) => [`ppt/slides/slide${i + 1}.xml`, s]),
  ]);
}

function xlsx(pages) {
  const ns = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"';
  const strings = [];
  const index = (s) => (strings.includes(s) ? strings.indexOf(s) : strings.push(s) - 1);
  const cell = (value, row, col) => {
    const ref = `${String.fromCharCode(65 + col)}${row + 1}`;
    return /^\d+(\.\d+)?$/.test(value) ? `<c r="${ref}"><v>${value}</v></c>` : `<c r="${ref}" t="s"><v>${index(value)}</v></c>`;
  };
  const sheets = pages.map((blocks) => ({
    name: blocks[0].text,
    text: `${head}<worksheet ${ns}><sheetData>` + blocks.find((b) => b.kind === 'table').rows.map((r, i) =>
      `<row r="${i + 1}">${r.map((c, k) => cell(c, i, k)).join('')}</row>`).join('') + '</sheetData></worksheet>',
  }));
  return zip([
    ['[Content_Types].xml', contentTypes([['/xl/workbook.xml', 'spreadsheetml.sheet.main'], ['/xl/sharedStrings.xml', 'spreadsheetml.sharedStrings'],
      ...sheets.map((_, i) => [`/xl/worksheets/sheet${i + 1}.xml`, 'spreadsheetml.worksheet'])])],
    ['_rels/.rels', relations([['rId1', 'officeDocument', 'xl/workbook.xml']])],
    ['xl/workbook.xml', `${head}<workbook ${ns} xmlns:r="${OFFICE}"><sheets>` +
      sheets.map((s, i) => `<sheet name="${xml(s.name)}" sheetId="${i + 1}" r:id="rId${i + 1}"/>`).join('') + '</sheets></workbook>'],
    ['xl/_rels/workbook.xml.rels', relations([...sheets.map((_, i) => [`rId${i + 1}`, 'worksheet', `worksheets/sheet${i + 1}.xml`]),
      [`rId${sheets.length + 1}`, 'sharedStrings', 'sharedStrings.xml']])],
    ...sheets.map((s, i) => [`xl/worksheets/sheet${i + 1}.xml`, s.text]),
    ['xl/sharedStrings.xml', `${head}<sst ${ns}>${strings.map((s) => `<si><t>${xml(s)}</t></si>`).join('')}</sst>`],
  ]);
}

function odt(pages) {
  const body = pages.flat().map((b) => {
    if (b.kind === 'heading') return `<text:h text:outline-level="${b.level}">${xml(b.text)}</text:h>`;
    if (b.kind === 'item') return `<text:list><text:list-item><text:p>${xml(b.text)}</text:p></text:list-item></text:list>`;
    return `<text:p>${xml(b.text)}</text:p>`;
  }).join('');
  const o = 'urn:oasis:names:tc:opendocument:xmlns';
  const type = 'application/vnd.oasis.opendocument.text';
  return zip([
    ['mimetype', type],
    ['content.xml', `${head}<office:document-content xmlns:office="${o}:office:1.0" xmlns:text="${o}:text:1.0" office:version="1.2">` +
      `<office:body><office:text>${body}</office:text></office:body></office:document-content>`],
    ['META-INF/manifest.xml', `${head}<manifest:manifest xmlns:manifest="${o}:manifest:1.0" manifest:version="1.2">` +
      `<manifest:file-entry manifest:full-path="/" manifest:media-type="${type}"/>` +
      '<manifest:file-entry manifest:full-path="content.xml" manifest:media-type="text/xml"/></manifest:manifest>'],
  ]);
}

function epub(pages) {
  const title = pages[0].find((b) => b.kind === 'heading').text;
  const chapters = pages.map((blocks) => `${head}<html xmlns="http://www.w3.org/1999/xhtml"><head><title>${xml(title)}</title></head><body>` +
    blocks.map((b) => (b.kind === 'heading' ? `<h${b.level}>${xml(b.text)}</h${b.level}>` : `<p>${xml(b.text)}</p>`)).join('\n') + '</body></html>');
  const names = chapters.map((_, i) => `chapter${i + 1}.xhtml`);
  return zip([
    ['mimetype', 'application/epub+zip'],
    ['META-INF/container.xml', `${head}<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>` +
      '<rootfile full-path="OEBPS/content.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'],
    ['OEBPS/content.opf', `${head}<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id">` +
      `<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:identifier id="id">aldern:${names.length}</dc:identifier><dc:title>${xml(title)}</dc:title><dc:language>en</dc:language></metadata>` +
      `<manifest>${names.map((n, i) => `<item id="c${i + 1}" href="${n}" media-type="application/xhtml+xml"/>`).join('')}</manifest>` +
      `<spine>${names.map((_, i) => `<itemref idref="c${i + 1}"/>`).join('')}</spine></package>`],
    ...chapters.map((c, i) => [`OEBPS/${names[i]}`, c]),
  ]);
}

// ---- PDF -------------------------------------------------------------------------------------------

const WIDTH = 88; // characters of a line at 10 points

function wrap(text) {
  const lines = [''];
  for (const word of plain(text).split(' ')) {
    const last = lines.length - 1;
    if (lines[last] && lines[last].length + word.length + 1 > WIDTH) lines.push(word);
    else lines[last] += (lines[last] ? ' ' : '') + word;
  }
  return lines;
}

const pdfText = (s) => s.replace(/[\\()]/g, '\\$&');

function pdfPage(blocks) {
  let y = 800;
  const out = [];
  const line = (text, size, x = 56) => {
    out.push(`BT /F1 ${size} Tf ${x} ${y} Td (${pdfText(text)}) Tj ET`);
    y -= size * 1.35;
  };
  for (const b of blocks) {
    if (b.kind === 'heading') line(plain(b.text), b.level === 1 ? 18 : 13);
    else if (b.kind === 'table') {
      const widths = b.rows[0].map((_, k) => Math.max(...b.rows.map((r) => r[k].length)) * 4.9 + 14);
      for (const row of b.rows) {
        let x = 56;
        row.forEach((c, k) => {
          out.push(`BT /F1 10 Tf ${x.toFixed(0)} ${y.toFixed(1)} Td (${pdfText(plain(c))}) Tj ET`);
          x += widths[k];
        });
        y -= 14;
      }
    } else for (const l of wrap((b.kind === 'item' ? '- ' : '') + b.text)) line(l, 10);
    y -= 8;
  }
  return out.join('\n');
}

function pdf(pages) {
  const objects = ['<< /Type /Catalog /Pages 2 0 R >>',
    `<< /Type /Pages /Count ${pages.length} /Kids [${pages.map((_, i) => `${4 + 2 * i} 0 R`).join(' ')}] >>`,
    '<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>'];
  pages.forEach((blocks, i) => {
    const content = pdfPage(blocks);
    objects.push(`<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /Font << /F1 3 0 R >> >> /Contents ${5 + 2 * i} 0 R >>`,
      `<< /Length ${Buffer.byteLength(content, 'latin1')} >>\nstream\n${content}\nendstream`);
  });
  let text = '%PDF-1.4\n';
  const offsets = objects.map((o, i) => {
    const at = Buffer.byteLength(text, 'latin1');
    text += `${i + 1} 0 obj\n${o}\nendobj\n`;
    return at;
  });
  const xref = Buffer.byteLength(text, 'latin1');
  text += `xref\n0 ${objects.length + 1}\n0000000000 65535 f \n${offsets.map((o) => `${String(o).padStart(10, '0')} 00000 n \n`).join('')}` +
    `trailer\n<< /Size ${objects.length + 1} /Root 1 0 R >>\nstartxref\n${xref}\n%%EOF\n`;
  return Buffer.from(text, 'latin1');
}

// ---- all of them -----------------------------------------------------------------------------------

const writers = { docx, pptx, xlsx, odt, epub, pdf };

function sources() {
  const dir = join(here, 'sources');
  return [...readdirSync(dir).sort().map((name) => ({ name, text: readFileSync(join(dir, name), 'utf8') })), ...generatedSources()];
}

/** [{name, bytes, pages: [text, ...] | null}] */
export function documents() {
  return sources().map(({ name, text }) => {
    const made = /^(.*\.(\w+))\.md$/.exec(name);
    if (!made) return { name, bytes: Buffer.from(text), pages: null };
    const pages = parse(text);
    const paged = ['pdf', 'pptx', 'xlsx'].includes(made[2]);
    return { name: made[1], bytes: writers[made[2]](pages), pages: paged ? text.split(/^---$/m) : null };
  });
}

/** [{file, kind, question, words: [any of these, ...]}] */
export function questions() {
  const all = [];
  let file = null;
  for (const line of readFileSync(join(here, 'questions.txt'), 'utf8').split('\n')) {
    if (line.startsWith('@')) file = line.slice(1);
    else if (/^[pfid] \| /.test(line)) {
      const [kind, question, ...words] = line.split(' | ');
      all.push({ file, kind, question, words });
    }
  }
  return [...all, ...generatedQuestions()];
}

/** For comparing: no markup, one blank, small letters. */
export const normal = (s) => s.replace(/[*|_#`\\]/g, ' ').replace(/\s+/g, ' ').trim().toLowerCase();

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const to = process.argv[2];
  if (!to) throw new Error('say where to: node evals/retrieval/make.mjs FOLDER');
  mkdirSync(to, { recursive: true });
  for (const d of documents()) writeFileSync(join(to, d.name), d.bytes);
}
