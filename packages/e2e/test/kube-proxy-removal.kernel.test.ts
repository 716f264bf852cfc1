// Runs the real command on real rules, each time in a new network namespace.
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { startHeddle } from '@heddle/cli/testing/heddle';
import {
  type Family,
  foreignRules,
  foreignTables,
  iptablesLeftovers,
  nftablesLeftovers,
} from '@heddle/deploy/testing/kube-proxy-rules';
import { NetworkNamespace } from '@heddle/netlink';
import { nodePlatform } from '@heddle/sys/node';

const platform = nodePlatform(() => {});
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
const lacks = (tool: string) =>
  spawnSync(tool, ['--version'], { env }).error ? `${tool} is not installed` : false;

let namespace: NetworkNamespace;
const started: { kill(): void }[] = [];
beforeEach(() => {
  namespace = NetworkNamespace.create(platform);
});
afterEach(() => {
  for (const child of started.splice(0)) child.kill();
  namespace?.[Symbol.dispose]();
});

const tool = (command: string, args: readonly string[] = [], input = '') =>
  namespace.enter(() => execFileSync(command, args, { env, input, encoding: 'utf8' }));

/** Returns the output without times. */
const rules = (command: string) => tool(`${command}-save`).replace(/^#.*\n/gm, '');

async function cleanup(...args: string[]) {
  const child = namespace.enter(() =>
    startHeddle(['cleanup', '--kube-proxy', ...args], { stdio: ['ignore', 'pipe', 'pipe'] }),
  );
  let [stdout, stderr] = ['', ''];
  child.stdout!.on('data', (data) => {
    stdout += data;
  });
  child.stderr!.on('data', (data) => {
    stderr += data;
  });
  const code = await new Promise((resolve) => child.on('close', resolve));
  return { code, stdout, stderr };
}

for (const variant of ['nft', 'legacy']) {
  const skip = lacks(`iptables-${variant}`);
  describe(`removal of kube-proxy's iptables rules with iptables-${variant}`, { skip }, () => {
    const families: readonly Family[] = ['iptables', 'ip6tables'];

    test('kube-proxy’s rules of both families are removed, and those of other programs kept', async () => {
      const before = families.map((family) => {
        tool(`${family}-${variant}-restore`, [], foreignRules(family));
        return rules(`${family}-${variant}`);
      });
      for (const family of families) {
        const input = iptablesLeftovers(family);
        tool(`${family}-${variant}-restore`, ['--noflush'], input);
        assert.match(rules(`${family}-${variant}`), /-j KUBE-SERVICES/);
      }
      const { code, stdout, stderr } = await cleanup('-o', 'json');
      assert.deepEqual([code, stderr], [0, '']);
      const { removed, kept, failed } = JSON.parse(stdout);
      assert.deepEqual(
        families.map((family) => rules(`${family}-${variant}`)),
        before,
      );
      assert.deepEqual(
        removed.sort(),
        families
          .flatMap((family) => [
            `${family}-${variant}: filter: 6 chains, 7 jumps`,
            `${family}-${variant}: mangle: 1 chain, 0 jumps`,
            `${family}-${variant}: nat: 8 chains, 3 jumps`,
          ])
          .sort(),
      );
      assert.deepEqual([kept, failed], [[], []]);

      const again = await cleanup();
      assert.equal(again.code, 0);
      assert.match(again.stdout, /^nothing to remove$/m);
    });

    test('chains of kube-proxy that other rules use are kept', async () => {
      tool(`iptables-${variant}-restore`, [], iptablesLeftovers('iptables'));
      const portmap = '-A CNI-SETMARK -j KUBE-MARK-MASQ';
      const input = `*nat\n:CNI-SETMARK - [0:0]\n${portmap}\nCOMMIT\n`;
      tool(`iptables-${variant}-restore`, ['--noflush'], input);
      const { code, stdout } = await cleanup();
      assert.equal(code, 0);
      const kept = `kept     iptables-${variant}: nat: KUBE-MARK-MASQ, which another program's rule uses: ${portmap}`;
      assert.ok(stdout.split('\n').includes(kept), stdout);
      const left = tool(`iptables-${variant}-save`, ['-t', 'nat']).match(/KUBE-\S+/g);
      assert.deepEqual([...new Set(left)], ['KUBE-MARK-MASQ']);
      assert.match(rules(`iptables-${variant}`), /^-A KUBE-MARK-MASQ -j MARK/m);
    });
  });
}

describe("removal of kube-proxy's nftables tables", { skip: lacks('nft') }, () => {
  test('kube-proxy’s tables of both families are removed, and those of other programs kept', async () => {
    tool('nft', ['-f', '-'], foreignTables);
    const before = tool('nft', ['list', 'ruleset']);
    tool('nft', ['-f', '-'], nftablesLeftovers);
    const { code, stdout } = await cleanup();
    assert.equal(code, 0);
    assert.match(
      stdout,
      /^removed {2}nft: table ip kube-proxy\nremoved {2}nft: table ip6 kube-proxy$/m,
    );
    assert.equal(tool('nft', ['list', 'ruleset']), before);
  });
});

describe('while kube-proxy runs', () => {
  const refusal = /^heddle: clean up after kube-proxy: it still runs here \((.*)\) and would/;

  test('changes nothing without --force', { skip: lacks('nft') }, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'heddle-kube-proxy-'));
    try {
      copyFileSync('/bin/sleep', join(folder, 'kube-proxy'));
      tool('nft', ['-f', '-'], nftablesLeftovers);
      const before = tool('nft', ['list', 'ruleset']);
      const child = namespace.enter(() => spawn(join(folder, 'kube-proxy'), ['600']));
      started.push(child);
      const { code, stderr } = await cleanup();
      assert.equal(code, 5);
      assert.equal(refusal.exec(stderr)?.[1], `it is process ${child.pid}`);
      assert.equal(tool('nft', ['list', 'ruleset']), before);

      assert.equal((await cleanup('--force')).code, 0);
      assert.equal(tool('nft', ['list', 'ruleset']), '');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  /** Starts an HTTP server in the namespace that answers every request with `text`. */
  async function serve(text: string, port: number, address: string): Promise<void> {
    const program = `require('node:http')
      .createServer((_, response) => response.end('${text}'))
      .listen(${port}, '${address}', () => console.log('listens'));`;
    const server = namespace.enter(() => spawn(process.execPath, ['-e', program]));
    started.push(server);
    await new Promise((resolve) => server.stdout.once('data', resolve));
  }

  for (const [port, address] of [
    [10249, '127.0.0.1'],
    [12345, '127.0.0.1'],
    [12346, '0.0.0.0'],
    [12347, '::'],
  ] as const) {
    test(`a kube-proxy inside another program is detected by its metrics port, ${address} ${port}`, async () => {
      tool('ip', ['link', 'set', 'lo', 'up']);
      await serve('iptables', port, address);
      const { code, stderr } = await cleanup();
      assert.equal(code, 5);
      assert.match(refusal.exec(stderr)![1]!, /^it responds at http:.*\/proxyMode: iptables$/);
    });
  }

  test("other listeners, such as Heddle's metrics port, do not count as a kube-proxy", async () => {
    tool('ip', ['link', 'set', 'lo', 'up']);
    await serve('heddle', 10249, '127.0.0.1');
    await serve('x'.repeat(100_000), 8080, '0.0.0.0');
    const silent = `require('node:net').createServer(() => {}).listen(22, '::', () => console.log('listens'))`;
    const server = namespace.enter(() => spawn(process.execPath, ['-e', silent]));
    started.push(server);
    await new Promise((resolve) => server.stdout.once('data', resolve));
    assert.equal((await cleanup()).code, 0);
  });
});
