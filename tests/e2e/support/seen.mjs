// What a test file tells about itself when somebody watches it (support/watch.mjs): which hubs it
// starts, and which servers of its own it plays. Without HEARTH_TEST_WATCH (a folder) nothing is told.
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';

const dir = process.env.HEARTH_TEST_WATCH;

/** { hub: process id, pinned } or { server: what it plays, port } */
export function seen(what) {
  if (dir) appendFileSync(join(dir, 'seen'), `${JSON.stringify(what)}\n`);
}

/** The settings that every hub and every verb under watch gets. */
export const watchedEnv = () => ({
  ...(dir && { HEARTH_CONNECT_LOG: join(dir, 'connects') }),
  ...(process.env.HEARTH_TEST_PRIVACY && { HEARTH_PRIVACY: process.env.HEARTH_TEST_PRIVACY }),
});
