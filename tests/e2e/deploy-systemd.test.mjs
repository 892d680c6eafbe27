// The systemd unit as it is in deploy/: what systemd-analyze says of it, and the hub running under it, in
// a systemd of its own (process, mount and cgroup namespaces; /etc, /var and /run are thrown away
// afterwards). Skipped where systemd is not installed; running it takes root.
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { binary, root, tempDir, until } from './support/hearth.mjs';
import { seen, watchedEnv } from './support/seen.mjs';

const unit = join(root, 'deploy/systemd/hearth.service');
const systemd = ['/lib/systemd/systemd', '/usr/lib/systemd/systemd'].find(existsSync);
const has = (program, ...args) => spawnSync(program, args).status === 0;
const analyzes = has('systemd-analyze', '--version');

test('systemd understands every line of the unit', { skip: !analyzes && 'systemd-analyze is not installed' }, () => {
  const dir = tempDir();
  const copy = join(dir, 'hearth.service');
  writeFileSync(copy, readFileSync(unit, 'utf8').replace('/usr/local/bin/hearth', binary).replace(/^Documentation=.*\n/m, ''));
  const r = spawnSync('systemd-analyze', ['verify', '--man=no', copy], { encoding: 'utf8' });
  const about = r.stderr.split('\n').filter((l) => l.includes('hearth.service'));
  assert.deepEqual(about, []);
});

test('little is left to a hub that somebody took over', { skip: !analyzes && 'systemd-analyze is not installed' }, (t) => {
  const r = spawnSync('systemd-analyze', ['security', '--offline=yes', '--no-pager', '--threshold=20', unit], { encoding: 'utf8' });
  if (/unrecognized option/.test(r.stderr)) return t.skip('this systemd can\'t judge a file');
  assert.equal(r.status, 0, r.stdout.split('\n').slice(-3).join('\n'));
});

// Under watch this hub is pinned like every other.
const { HEARTH_PRIVACY: privacy = 'open' } = watchedEnv();

// What the unit becomes: another path of the binary and another port, a user that exists everywhere, and
// none of the machine's other units.
const script = (at, port) => `#!/bin/sh
set -e
mount --make-rprivate /
mkdir -p ${at}/etc ${at}/etc.work ${at}/var ${at}/var.work
mount -t tmpfs tmpfs ${at}/layers
mkdir ${at}/layers/etc ${at}/layers/etc.work ${at}/layers/var ${at}/layers/var.work
mount -t overlay overlay -o lowerdir=/etc,upperdir=${at}/layers/etc,workdir=${at}/layers/etc.work /etc
mount -t overlay overlay -o lowerdir=/var,upperdir=${at}/layers/var,workdir=${at}/layers/var.work /var
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/systemd/system/hearth.service.d /run/lock /run/hub
cp '${binary}' /run/hub/hearth
cp -rL '${dirname(binary)}/lib' '${dirname(binary)}/models' /run/hub/
chmod -R a+rX /run/hub
cd /run/systemd/system
sed 's#/usr/local/bin/hearth#/run/hub/hearth#' '${unit}' > hearth.service
cat > hearth.service.d/test.conf <<X
[Unit]
DefaultDependencies=no
Wants=
After=
[Service]
User=nobody
Group=
Environment=PORT=${port} HEARTH_PRIVACY=${privacy}
StandardOutput=append:/run/hub.log
StandardError=append:/run/hub.log
X
printf '[Unit]\\nDefaultDependencies=no\\nRequires=hearth.service\\n' > test.target
exec ${systemd} --system --unit=test.target --log-target=null
`;

// What systemd makes of control groups stays below one of the test's own.
const groups = ['/sys/fs/cgroup', '/sys/fs/cgroup/systemd', '/sys/fs/cgroup/unified'].map((g) => `${g}/hearth-test-${process.pid}`).join(' ');
const ownGroup = `for g in ${groups}; do mkdir $g && echo $$ > $g/cgroup.procs || rmdir $g; done 2> /dev/null;`;

function freePort() {
  return new Promise((done) => {
    const s = createServer().listen(0, '127.0.0.1', () => {
      const { port } = s.address();
      s.close(() => done(port));
    });
  });
}

function whyNot() {
  if (!systemd) return 'systemd is not installed';
  if (process.getuid() !== 0) return 'a systemd of its own takes root';
  if (/sanitize|asan|tsan|ubsan/.test(binary) || process.env.ASAN_OPTIONS?.includes('force')) return 'not with sanitizers';
  const r = spawnSync('unshare', ['--mount', '--pid', '--fork', '--cgroup', '--ipc', '--mount-proc', 'sh', '-c',
    'mount --make-rprivate / && mount -t tmpfs tmpfs /run && mkdir /run/u /run/w /run/m && mount -t overlay o -o lowerdir=/etc,upperdir=/run/u,workdir=/run/w /run/m']);
  return r.status !== 0 && 'namespaces or overlays can\'t be made here';
}

describe('running under the unit', { skip: whyNot(), timeout: 170000 }, () => {
  let child;
  let url;
  let pid; // of systemd, as this side sees it
  let log = '';
  const inside = (...args) => spawnSync('nsenter', ['--target', String(pid), '--mount', '--pid', '--ipc', '--cgroup', ...args], { encoding: 'utf8' });
  const state = (name) => inside('systemctl', 'show', 'hearth', '-p', name, '--value').stdout.trim();
  const hubPid = () => { // of the hub, as this side sees it
    const list = execFileSync('ps', ['-eo', 'pid=,ppid=,args=']).toString().split('\n').map((l) => l.trim().split(/\s+/));
    return list.find((p) => Number(p[1]) === pid && p[2] === '/run/hub/hearth')?.[0];
  };
  const status = (p, name) => new RegExp(`^${name}:\\s+(\\S+)`, 'm').exec(readFileSync(`/proc/${p}/status`, 'utf8'))[1];
  const children = (p) => execFileSync('ps', ['-o', 'pid=', '--ppid', String(p)]).toString().trim().split(/\s+/).filter(Boolean);

  before(async () => {
    const dir = tempDir();
    const port = await freePort();
    const file = join(dir, 'start.sh');
    execFileSync('mkdir', [join(dir, 'layers')]);
    writeFileSync(file, script(dir, port));
    chmodSync(file, 0o755);
    child = spawn('sh', ['-c', `${ownGroup} exec unshare --mount --pid --fork --kill-child --cgroup --ipc --uts --mount-proc '${file}'`],
      { stdio: ['ignore', 'pipe', 'pipe'] });
    process.on('exit', () => child.kill('SIGKILL'));
    child.stdout.on('data', (d) => { log += d; });
    child.stderr.on('data', (d) => { log += d; });
    url = `http://127.0.0.1:${port}`;
    await until(() => fetch(`${url}/health`).then((r) => r.ok, () => {
      if (child.exitCode !== null) throw new Error(log);
      return false;
    }), 60000, 'the hub to listen');
    pid = Number(children(child.pid)[0]);
    seen({ hub: Number(hubPid()), pinned: privacy === 'local' });
  });
  after(async () => {
    child?.kill('SIGKILL');
    await until(() => spawnSync('sh', ['-c', `find ${groups} -depth -type d -exec rmdir {} \\; 2> /dev/null; ! ls -d ${groups} 2> /dev/null | grep -q .`]).status === 0,
      10000, 'its control groups to be gone').catch(() => {});
  });

  test('the hub has told that it listens, and has no rights', async () => {
    await until(() => state('ActiveState') === 'active', 20000, 'the unit to be active');
    const hub = hubPid();
    assert.ok(hub);
    assert.equal(status(hub, 'CapEff'), '0000000000000000');
    assert.equal(status(hub, 'NoNewPrivs'), '1');
    assert.equal(status(hub, 'Seccomp'), '2');
    assert.notEqual(status(hub, 'Uid'), '0');
  });

  test('models are run, by a worker that restricts itself further', async () => {
    const r = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST', body: JSON.stringify({ messages: [{ role: 'user', content: 'Hello' }], max_tokens: 8 }),
    });
    assert.equal(r.status, 200);
    const text = inside('cat', '/run/hub.log').stdout;
    assert.match(text, /the model worker runs .* no network, no programs \(seccomp\)/);
    assert.doesNotMatch(text, /NOT restricted \(seccomp/);
  });

  test('accounts and files work in the folders that are left', async () => {
    const call = async (method, path, body, token) => {
      const r = await fetch(`${url}/api/v1${path}`, {
        method,
        headers: { ...(token && { authorization: `Bearer ${token}` }), ...(!(body instanceof FormData) && { 'content-type': 'application/json' }) },
        body: body instanceof FormData ? body : body && JSON.stringify(body),
      });
      return { status: r.status, json: await r.json() };
    };
    const who = { username: 'ada', password: 'correct horse' };
    assert.equal((await call('POST', '/auth/register', who)).status, 201);
    const token = (await call('POST', '/auth/login', who)).json.access_token;
    assert.ok(token);
    assert.equal(inside('stat', '-c', '%a', '/var/lib/hearth').stdout.trim(), '700');
    const form = new FormData();
    form.append('file', new Blob(['<h1>Lanterns</h1><p>The keeper lights the lantern at dusk.</p>'], { type: 'text/html' }), 'lantern.html');
    const file = await call('POST', '/files/upload', form, token);
    if (file.status === 404) return; // a hub without files
    assert.ok(file.status < 300, JSON.stringify(file.json));
    await until(async () => {
      const { json } = await call('GET', `/files/status/${file.json.file_id}`, undefined, token);
      assert.notEqual(json.status, 'failed', JSON.stringify(json));
      return json.status === 'ready';
    }, 60000, 'the file to be read by its sandboxed child');
  });

  test('a worker that dies is not the unit\'s end', async () => {
    const hub = hubPid();
    for (const p of children(hub)) process.kill(Number(p), 'SIGKILL');
    const r = await until(() => fetch(`${url}/v1/chat/completions`, {
      method: 'POST', body: JSON.stringify({ messages: [{ role: 'user', content: 'Hello' }], max_tokens: 4 }),
    }).then((x) => x.ok), 60000, 'an answer');
    assert.ok(r);
    assert.equal(hubPid(), hub);
    assert.equal(state('NRestarts'), '0');
  });

  test('reload leaves it running, stop ends it well', async () => {
    assert.equal(inside('systemctl', 'reload', 'hearth').status, 0);
    assert.equal((await fetch(`${url}/health`)).status, 200);
    assert.equal(inside('systemctl', 'stop', 'hearth').status, 0);
    assert.equal(state('Result'), 'success');
    assert.equal(state('ExecMainStatus'), '0');
  });
});
