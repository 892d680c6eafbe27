// A PostgreSQL with pgvector: the real ones, compiled to WebAssembly, in this process.
// usage: node pglite.mjs PORT [FOLDER]    without a folder it is in memory
import { PGlite } from '@electric-sql/pglite';
import { vector } from '@electric-sql/pglite-pgvector';
import { PGLiteSocketServer } from '@electric-sql/pglite-socket';

const [port, folder] = process.argv.slice(2);
const db = await PGlite.create({ dataDir: folder || undefined, extensions: { vector } });
const server = new PGLiteSocketServer({ db, host: '127.0.0.1', port: Number(port), maxConnections: 4 });
await server.start();
