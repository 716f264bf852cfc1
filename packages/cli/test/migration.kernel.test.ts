// From kube-proxy to Heddle and back, as docs/migration.md has it. kube-proxy's part is a rule of its form
// that leads to another backend than Heddle's manifests, so that an answer tells who was at work.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { startHeddle } from '../testing/heddle.ts';
import { service, slice } from '../testing/objects.ts';
import { named, Site } from '../testing/site.ts';

const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
const skip =
  spawnSync('iptables-nft', ['--version'], { env }).error && 'iptables-nft is not installed';
const address = '10.96.20.1';

describe('while kube-proxy and Heddle are both in force', { skip }, () => {
  let site: Site;
  before(async () => {
    site = await Site.open('migration');
    await site.product.apply('web.yaml', service('web', [address]), slice('web', site.v4(1)));
  });
  after(() => site?.[Symbol.dispose]());

  const portals = '-m comment --comment "kubernetes service portals"';
  const writeRules = () => {
    const input = `*nat
:KUBE-SERVICES - [0:0]
:KUBE-SVC-ABCDEFGHIJKLMN22 - [0:0]
-A OUTPUT ${portals} -j KUBE-SERVICES
-A KUBE-SERVICES -d ${address}/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-ABCDEFGHIJKLMN22
-A KUBE-SVC-ABCDEFGHIJKLMN22 -p tcp -m tcp -j DNAT --to-destination ${site.v4(2)}:8080
COMMIT
`;
    site.product.node.enter(() =>
      execFileSync('iptables-nft-restore', ['--noflush'], { env, input }),
    );
  };
  const rules = () =>
    site.product.node.enter(() => execFileSync('iptables-nft-save', { env, encoding: 'utf8' }));
  const answer = async () => (await site.onNode.tcp(address, 80)).pod;
  const cleanup = async (...args: string[]) => {
    const child = site.product.node.enter(() =>
      startHeddle(['cleanup', ...args], { stdio: ['ignore', 'ignore', 'inherit'] }),
    );
    assert.equal(await new Promise((resolve) => child.on('close', resolve)), 0);
  };

  test('Heddle answers, before kube-proxy’s rules are gone and after; and kube-proxy once Heddle is', async () => {
    writeRules();
    assert.equal(await answer(), named(1)[0]);

    await cleanup('--kube-proxy');
    assert.doesNotMatch(rules(), /KUBE-/);
    assert.equal(await answer(), named(1)[0]);

    writeRules();
    const pins = site.product.node.bpffs;
    await cleanup('--force', '--bpffs', pins, '--socket', site.product.socket);
    assert.equal(await answer(), named(2)[0]);
  });
});
