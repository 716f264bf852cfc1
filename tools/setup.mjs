// Runs with the machine's Node.js (20 or newer) before anything is installed: installs node_modules
// as in package-lock.json, unless that is done already.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const stamp = `${root}node_modules/.heddle-lock`;
const wanted = createHash('sha256')
  .update(readFileSync(`${root}package-lock.json`))
  .update(`${process.platform}-${process.arch}`)
  .digest('hex');

if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) process.exit(0);

process.stderr.write('setting up: npm ci (once; about 350 MB in node_modules)\n');
// No package needs an install script: binaries are in the packages. .npmrc silences npm, so the log
// level is raised to show why an installation fails. The lock file has hashes, so cached packages are as good
// as fetched ones.
const result = spawnSync(
  'npm',
  ['ci', '--prefer-offline', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'],
  { cwd: root, stdio: ['ignore', 2, 2] },
);
if (result.status !== 0) {
  fail('npm ci did not succeed (see above); check the network or the npm registry and try again');
}

// On other systems than Linux no Node.js is installed: the machine's own runs the demo.
const oldest = 24;
if (process.platform !== 'linux') {
  const own = Number(process.versions.node.split('.')[0]);
  if (own < oldest) fail(`Node.js ${process.version} is too old; use Node.js ${oldest} or newer`);
  writeFileSync(stamp, wanted);
  process.exit(0);
}

// Node.js 26 is linked with libatomic, which a small Debian doesn't have.
const node = () => spawnSync(`${root}node_modules/.bin/node`, ['--version'], { encoding: 'utf8' });
if (node().status !== 0 && /libatomic\.so/.test(node().stderr)) {
  process.stderr.write('setting up: apt-get install libatomic1\n');
  const apt = (...args) => spawnSync('apt-get', args, { stdio: ['ignore', 2, 2] });
  apt('update', '-qq');
  apt('install', '-y', '-qq', 'libatomic1');
}
const started = node();
if (started.status !== 0) {
  fail(`the Node.js it installed does not start: ${(started.stderr ?? `${started.error}`).trim()}`);
}
writeFileSync(stamp, wanted);

/** @param {string} why */
function fail(why) {
  process.stderr.write(`set up failed: ${why}\n`);
  process.exit(3);
}
