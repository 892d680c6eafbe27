// A local server that speaks Hugging Face's paths and can misbehave, for tests of `hearth pull`:
//
//   GET /api/models/<org>/<repo>/tree/main?recursive=true   the list of files, with size and sha256
//   GET /<org>/<repo>/resolve/main/<file>                   302 to the storage, X-Linked-* headers
//   GET /storage/<org>/<repo>/<file>                        the bytes; Range, If-Range, ETag
//
//   const hub = await startHubServer({ 'org/repo': { 'm-Q4_K_M.gguf': bytes } });
//   hub.faults.cutAfter = 1000; ...
//   runHearth(['pull', 'org/repo'], { env: { HF_ENDPOINT: hub.url } });
//   await hub.close();
//
// The storage is the same server under another name ("localhost" instead of 127.0.0.1), so that
// credentials which follow a redirect are seen. `hub.requests` lists what was asked.
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';

import { seen } from './seen.mjs';

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

export async function startHubServer(repos) {
  const hub = { repos, faults: {}, requests: [], tokenAtStorage: false };
  const server = createServer((req, res) => {
    const url = new URL(req.url, 'http://127.0.0.1');
    const path = decodeURIComponent(url.pathname);
    hub.requests.push({ method: req.method, path, headers: req.headers });
    const tree = path.match(/^\/api\/models\/([^/]+\/[^/]+)\/tree\/main$/);
    const resolve = path.match(/^\/([^/]+\/[^/]+)\/resolve\/main\/(.+)$/);
    const storage = path.match(/^\/storage\/([^/]+\/[^/]+)\/(.+)$/);
    if (tree) return sendTree(hub, res, tree[1]);
    if (storage) return sendBytes(hub, req, res, storage[1], storage[2]);
    if (resolve) return sendRedirect(hub, req, res, resolve[1], resolve[2]);
    return refuse(res, 404, 'nothing here', 'RepoNotFound');
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  hub.port = server.address().port;
  seen({ server: 'models', port: hub.port });
  hub.url = `http://127.0.0.1:${hub.port}`;
  hub.close = () => {
    server.closeAllConnections();
    return new Promise((done) => server.close(done));
  };
  return hub;
}

function refuse(res, status, text, code, headers = {}) {
  res.writeHead(status, code ? { 'X-Error-Code': code, ...headers } : headers);
  res.end(text);
}

function sendTree(hub, res, repo) {
  const files = hub.repos[repo];
  if (!files) return refuse(res, 404, 'no such repository', 'RepoNotFound');
  const list = Object.entries(files).map(([path, bytes]) => ({
    type: 'file',
    oid: 'f'.repeat(40),
    size: bytes.length,
    path,
    lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 134 },
  }));
  res.writeHead(200, { 'Content-Type': 'application/json' });
  res.end(JSON.stringify([{ type: 'directory', oid: '0', size: 0, path: 'folder' }, ...list]));
}

function sendRedirect(hub, req, res, repo, file) {
  const { faults } = hub;
  if (faults.status) return refuse(res, faults.status, 'refused', faults.errorCode, faults.headers);
  if (faults.token && req.headers.authorization !== `Bearer ${faults.token}`) {
    return refuse(res, 401, 'who are you?', 'GatedRepo');
  }
  const bytes = hub.repos[repo]?.[file];
  if (!bytes) return refuse(res, 404, 'no such file', hub.repos[repo] ? 'EntryNotFound' : 'RepoNotFound');
  const hash = faults.wrongHash ? sha256('something else') : sha256(bytes);
  const to = encodeURI(`/storage/${repo}/${file}`);
  res.writeHead(302, {
    Location: `http://localhost:${hub.port}${to}`,
    'X-Linked-Etag': `"${hash}"`,
    'X-Linked-Size': String(bytes.length),
    'X-Repo-Commit': 'c'.repeat(40),
  });
  res.end();
}

function sendBytes(hub, req, res, repo, file) {
  const { faults } = hub;
  if (req.headers.authorization) hub.tokenAtStorage = true;
  const bytes = hub.repos[repo]?.[file];
  if (!bytes) return refuse(res, 404, 'no such file');
  const etag = `"${sha256(bytes).slice(0, 32)}"`;
  const range = /^bytes=(\d+)-$/.exec(req.headers.range ?? '');
  let from = range && !faults.ignoreRange ? Number(range[1]) : 0;
  if (from && req.headers['if-range'] && req.headers['if-range'] !== etag) from = 0;
  if (from >= bytes.length && from) {
    return refuse(res, 416, 'no such range', null, { 'Content-Range': `bytes */${bytes.length}` });
  }
  const headers = { ETag: etag };
  if (!faults.noLength) headers['Content-Length'] = bytes.length - from;
  if (from) headers['Content-Range'] = `bytes ${from}-${bytes.length - 1}/${bytes.length}`;
  res.writeHead(from ? 206 : 200, headers);
  if (faults.cuts > 0) {
    faults.cuts--;
    res.write(bytes.subarray(from, from + faults.cutAfter), () => {
      setTimeout(() => res.destroy(), 50); // what was written should arrive first
    });
    return;
  }
  if (faults.slow) return drip(res, bytes, from, faults.slow);
  res.end(bytes.subarray(from));
}

// `slow` bytes every 20 ms.
function drip(res, bytes, from, slow) {
  const timer = setInterval(() => {
    res.write(bytes.subarray(from, from + slow));
    from += slow;
    if (from >= bytes.length) {
      clearInterval(timer);
      res.end();
    }
  }, 20);
  res.on('close', () => clearInterval(timer));
}
