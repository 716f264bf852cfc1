import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { afterEach, beforeEach, test } from 'node:test';
import { checked, encodeCString, syscallNumbers } from '@heddle/sys';
import { nodePlatform } from '@heddle/sys/node';
import { eventually } from '@heddle/sys/testing/eventually';
import { EventLog } from '../../events.ts';
import { CniInstallation, installCni, removeCni } from './install.ts';

const platform = nodePlatform(() => {});
const nr = syscallNumbers(platform);
let folder: string;
let settings: { binDir: string; configDir: string; socket: string };
let plugin: string;
let loopback: string;
let configuration: string;

beforeEach(() => {
  folder = fs.mkdtempSync(`${tmpdir()}/heddle-install-`);
  settings = {
    ...{ binDir: `${folder}/opt/cni/bin`, configDir: `${folder}/etc/cni/net.d` },
    socket: '/run/heddle/cni.sock',
  };
  plugin = `${settings.binDir}/heddle-cni`;
  loopback = `${settings.binDir}/loopback`;
  configuration = `${settings.configDir}/05-heddle.conflist`;
});
afterEach(() => fs.rmSync(folder, { recursive: true }));

const bytes = (text: string) => new TextEncoder().encode(text);
const install = (text = 'plug-in') => installCni(platform, settings, bytes(text));
const identity = (path: string) => fs.statSync(path).ino;

test('an installation makes the directories, then the plug-in, then the configuration', () => {
  const before = process.umask(0o077);
  try {
    assert.deepEqual(install(), [loopback, plugin, configuration]);
  } finally {
    process.umask(before);
  }
  assert.equal(fs.readFileSync(plugin, 'utf8'), 'plug-in');
  assert.equal(fs.statSync(plugin).mode & 0o777, 0o755);
  assert.equal(fs.statSync(configuration).mode & 0o777, 0o644);
  const { plugins } = JSON.parse(fs.readFileSync(configuration, 'utf8'));
  const capabilities = { 'io.kubernetes.cri.pod-annotations': true };
  assert.deepEqual(plugins, [{ type: 'heddle-cni', socket: settings.socket, capabilities }]);
  assert.deepEqual(fs.readdirSync(settings.binDir), ['heddle-cni', 'loopback']);
  assert.deepEqual(fs.readdirSync(settings.configDir), ['05-heddle.conflist']);
});

test('an installation writes only what differs', () => {
  install();
  const before = [plugin, configuration].map(identity);
  assert.deepEqual(install(), []);
  assert.deepEqual([plugin, configuration].map(identity), before);
  assert.deepEqual(install('plug-im'), [loopback, plugin]);
  fs.writeFileSync(configuration, '{');
  assert.deepEqual(install('plug-im'), [configuration]);
  fs.rmSync(plugin);
  // What a killed agent leaves does not stay.
  fs.writeFileSync(`${settings.binDir}/.heddle-cni.new`, 'x'.repeat(100), { mode: 0 });
  assert.deepEqual(install('plug-im'), [plugin]);
  assert.deepEqual(fs.readdirSync(settings.binDir), ['heddle-cni', 'loopback']);
});

test('an installation replaces a plug-in that runs', async () => {
  installCni(platform, settings, fs.readFileSync('/bin/sleep'));
  const running = spawn(plugin, ['1000'], { stdio: 'ignore' });
  try {
    await once(running, 'spawn');
    assert.throws(() => fs.writeFileSync(plugin, 'new'), /ETXTBSY/);
    assert.deepEqual(install('new'), [loopback, plugin]);
    assert.equal(fs.readFileSync(plugin, 'utf8'), 'new');
  } finally {
    running.kill('SIGKILL');
  }
});

test('an installation renames the configuration within its directory', async () => {
  fs.mkdirSync(settings.configDir, { recursive: true });
  const seen: string[] = [];
  const watcher = fs.watch(settings.configDir, (event, name) => seen.push(`${event} ${name}`));
  try {
    install();
    // containerd reacts to the old name of a rename.
    await eventually('the directory reports the rename', () =>
      seen.at(-1)?.includes('05-heddle.conflist'),
    );
    assert.ok(seen.includes('rename 05-heddle.conflist.new'), seen.join());
  } finally {
    watcher.close();
  }
});

test('a full disk leaves the plug-in and the configuration as they were', () => {
  fs.mkdirSync(settings.binDir, { recursive: true });
  mount(settings.binDir, 'size=8k');
  try {
    install('old');
    const large = bytes('x'.repeat(100_000));
    assert.throws(() => installCni(platform, settings, large), /write .*: no space left on device/);
    assert.equal(fs.readFileSync(plugin, 'utf8'), 'old');
    assert.deepEqual(fs.readdirSync(settings.binDir), ['heddle-cni', 'loopback']);
  } finally {
    unmount(settings.binDir);
  }
  fs.mkdirSync(settings.configDir, { recursive: true });
  mount(settings.configDir, 'size=4k');
  try {
    fs.writeFileSync(configuration, '{"cniVersion":"1.0.0"}');
    assert.throws(() => install(), /no space left on device/);
    assert.equal(fs.readFileSync(configuration, 'utf8'), '{"cniVersion":"1.0.0"}');
    assert.deepEqual(fs.readdirSync(settings.configDir), ['05-heddle.conflist']);
  } finally {
    unmount(settings.configDir);
  }
});

test('an installation warns of configurations that come first, and reports each once', () => {
  const events = new EventLog(platform);
  fs.mkdirSync(`${settings.configDir}/00-folder.conf`, { recursive: true });
  const others = ['10-flannel.conflist', '00-old.conf', '05-a.json', '01-note.txt'];
  for (const name of others) fs.writeFileSync(`${settings.configDir}/${name}`, '{}');
  const { fire, clock } = timers();
  using installation = new CniInstallation({
    ...{ platform: clock, settings, events },
    plugin: () => bytes('plug-in'),
  });
  const found = /reads 00-old\.conf, 05-a\.json in .* before 05-heddle\.conflist/;
  assert.match(installation.warnings().join(), found);
  fire();
  const problems = events.recent().filter(({ kind }) => kind === 'problem');
  assert.deepEqual([problems.length, found.test(problems[0]!.message)], [1, true]);
  fs.rmSync(`${settings.configDir}/00-old.conf`);
  fs.rmSync(`${settings.configDir}/05-a.json`);
  fire();
  assert.deepEqual(installation.warnings(), []);
});

test('an installation that fails is tried again, and what others remove is written again', () => {
  const events = new EventLog(platform);
  fs.mkdirSync(`${folder}/opt/cni`, { recursive: true });
  fs.writeFileSync(settings.binDir, 'a file');
  const { fire, clock } = timers();
  const plugin = () => bytes('plug-in');
  {
    using installation = new CniInstallation({ platform: clock, settings, events, plugin });
    assert.match(
      installation.warnings().join(),
      /^the CNI plug-in is not installed: .*not a directory/,
    );
    fire();
    assert.equal(events.recent().filter(({ kind }) => kind === 'problem').length, 1);
    assert.ok(!fs.existsSync(configuration));
    fs.rmSync(settings.binDir);
    fire();
    assert.deepEqual(installation.warnings(), []);
    fs.rmSync(configuration);
    fire();
    assert.ok(fs.existsSync(configuration));
  }
  // The files stay when the agent ends.
  assert.ok(fs.existsSync(configuration));
  fire();
});

test('a removal removes the configuration and the plug-in, and nothing else', () => {
  install();
  fs.writeFileSync(`${settings.binDir}/bridge`, '');
  assert.deepEqual(removeCni(platform, settings), [configuration, loopback, plugin]);
  assert.deepEqual(removeCni(platform, settings), []);
  assert.deepEqual(fs.readdirSync(settings.binDir), ['bridge']);
});

test('an installation leaves the loopback plug-in of others', () => {
  fs.mkdirSync(settings.binDir, { recursive: true });
  fs.writeFileSync(loopback, 'another');
  assert.deepEqual(install(), [plugin, configuration]);
  assert.deepEqual(install('new'), [plugin]);
  assert.deepEqual(removeCni(platform, settings), [configuration, plugin]);
  assert.equal(fs.readFileSync(loopback, 'utf8'), 'another');
});

/** Returns a platform whose timer fires when the test calls `fire`. */
function timers() {
  let armed: (() => void) | undefined;
  const setTimer = (_: number, fire: () => void) => {
    armed = fire;
    return {
      [Symbol.dispose]() {
        armed = undefined;
      },
    };
  };
  return { clock: { ...platform, setTimer }, fire: () => armed?.() };
}

function mount(path: string, options: string): void {
  const [type, target, data] = ['tmpfs', path, options].map(encodeCString) as Uint8Array[];
  checked('mount', platform.syscall(nr.mount, type!, target!, type!, 0, data!), `mount ${path}`);
}

function unmount(path: string): void {
  checked('umount2', platform.syscall(nr.umount2, encodeCString(path), 0), `unmount ${path}`);
}
