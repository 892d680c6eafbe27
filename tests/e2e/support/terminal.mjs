// An interactive session on a pseudo-terminal, through script(1) of util-linux.
import { spawn } from 'node:child_process';

import { binary, cleanEnv, sleep } from './hearth.mjs';

export class Session {
  /** Starts `hearth <args>` on a terminal of 80 columns. */
  constructor(args, { dir, env = {} }) {
    const quoted = [binary, ...args].map((a) => `'${a.replaceAll("'", "'\\''")}'`).join(' ');
    this.text = '';
    this.seen = 0;
    this.child = spawn('script', ['-qefc', `stty cols 80 rows 24; exec ${quoted}`, '/dev/null'], {
      cwd: dir,
      env: { ...cleanEnv(dir, { TERM: 'xterm-256color', LANG: 'C.UTF-8', ...env }), SHELL: '/bin/sh' },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.child.stdout.on('data', (d) => { this.text += d.toString(); });
    this.ended = new Promise((done) => {
      this.child.on('close', (code, signal) => done({ code, signal }));
    });
  }

  /** Waits until what matches appears behind what was expected before. */
  async expect(pattern, ms = 20000) {
    const end = performance.now() + ms;
    for (;;) {
      const match = pattern.exec(this.text.slice(this.seen));
      if (match) {
        this.seen += match.index + match[0].length;
        return match;
      }
      if (performance.now() > end) {
        this.child.kill('SIGKILL');
        throw new Error(`${pattern} did not appear; since then came:\n` +
          JSON.stringify(this.text.slice(this.seen)));
      }
      await sleep(10);
    }
  }

  send(text) {
    this.child.stdin.write(text);
  }

  /** One line, when the prompt is there. */
  async enter(line, prompt = /> (?:\u001b\[[0-9;?]*[a-zA-Z])*$/) {
    await this.expect(prompt);
    this.send(`${line}\r`);
  }

  async end(ms = 20000) {
    const timer = setTimeout(() => this.child.kill('SIGKILL'), ms);
    const result = await this.ended;
    clearTimeout(timer);
    return result;
  }
}
