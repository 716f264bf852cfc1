// From kube-proxy to Heddle and back, as docs/migration.md has it. kube-proxy's part is a rule of its form
// that leads to another backend than Heddle's manifests, so that an answer tells who was at work.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { startHeddle } from '@heddle/cli/testing/heddle';
import { type BlockingSocket, connectTcp } from '@heddle/lab';
import { decodeUtf8 } from '@heddle/sys';
import { service, slice } from '../testing/objects.ts';
import { Product } from '../testing/product.ts';
import { named, Site } from '../testing/site.ts';

const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
const skip =
  spawnSync('iptables-nft', ['--version'], { env }).error && 'iptables-nft is not installed';
const address = '10.96.20.1';

const nodePort = 30_080;

describe('while kube-proxy and Heddle are both in force', { skip }, () => {
  let site: Site;
  before(async () => {
    site = await Site.on(new Product('migration', { podsPerNode: 5, outside: 1 }));
    const web = service('web', [address], { type: 'NodePort', ports: [{ port: 80, nodePort }] });
    await site.product.apply('web.yaml', web, slice('web', site.v4(1)));
  });
  after(() => site?.[Symbol.dispose]());

  const portals = '-m comment --comment "kubernetes service portals"';
  const writeRules = () => {
    const input = `*nat
:KUBE-SERVICES - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-SVC-ABCDEFGHIJKLMN22 - [0:0]
-A OUTPUT ${portals} -j KUBE-SERVICES
-A PREROUTING ${portals} -j KUBE-SERVICES
-A KUBE-SERVICES -d ${address}/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-ABCDEFGHIJKLMN22
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-NODEPORTS -p tcp -m tcp --dport ${nodePort} -j KUBE-SVC-ABCDEFGHIJKLMN22
-A KUBE-SVC-ABCDEFGHIJKLMN22 -p tcp -m tcp -j DNAT --to-destination ${site.v4(2)}:8080
COMMIT
*filter
:KUBE-FORWARD - [0:0]
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
COMMIT
`;
    site.product.node.enter(() =>
      execFileSync('iptables-nft-restore', ['--noflush'], { env, input }),
    );
  };
  const rules = () =>
    site.product.node.enter(() => execFileSync('iptables-nft-save', { env, encoding: 'utf8' }));
  const answer = async () => (await site.onNode.tcp(address, 80)).pod;
  const ask = (socket: BlockingSocket) => {
    socket.send('who?');
    return decodeUtf8(socket.receive()).split(' ')[0];
  };
  const connect = () =>
    connectTcp(
      site.product.lab.outside[0]!,
      { address: site.product.node.addresses.v4, port: nodePort },
      2000,
    );
  /** Who answers a client outside. */
  const outside = () => {
    using socket = connect();
    return ask(socket);
  };
  const cleanup = async (...args: string[]) => {
    const child = site.product.node.enter(() =>
      startHeddle(['cleanup', ...args], { stdio: ['ignore', 'ignore', 'inherit'] }),
    );
    assert.equal(await new Promise((resolve) => child.on('close', resolve)), 0);
  };

  test('Heddle answers, before kube-proxy’s rules are gone and after; and kube-proxy once Heddle is', async () => {
    const { product } = site;
    const [heddles] = named(1);
    const [kubeProxys] = named(2);
    writeRules();
    await product.kill();
    await product.start('--devices', 'none');
    assert.equal(await answer(), heddles);
    using before = connect();
    assert.equal(ask(before), kubeProxys);

    await product.kill();
    await product.start();
    assert.equal(await answer(), heddles);
    assert.equal(outside(), heddles);
    assert.equal(ask(before), kubeProxys, 'the connection goes on by conntrack');

    await cleanup('--kube-proxy');
    assert.doesNotMatch(rules(), /KUBE-/);
    assert.equal(await answer(), heddles);
    using kept = connect();
    assert.equal(ask(kept), heddles);

    writeRules();
    const pins = product.node.bpffs;
    await cleanup('--force', '--bpffs', pins, '--socket', product.socket);
    // The kernel takes its time to detach what is no longer pinned.
    await product.until('kube-proxy to serve', async () => (await answer()) === kubeProxys);
    await product.until('kube-proxy to serve outside', () => outside() === kubeProxys);
    assert.throws(() => ask(kept), { code: 'ECONNRESET' });
  });
});
