// Migrates from kube-proxy to Heddle and back, as in docs/migration.md. A rule in kube-proxy's form
// has another backend than Heddle's manifests, so that the reply shows which of the two translated.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { startHeddle } from '@heddle/cli/testing/heddle';
import { type BlockingSocket, connectTcp } from '@heddle/lab';
import { decodeUtf8 } from '@heddle/sys';
import { ManifestLab } from '../testing/manifest-lab.ts';
import { service, slice } from '../testing/objects.ts';
import { backendNames, ServiceLab } from '../testing/service-lab.ts';

const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
const skip =
  spawnSync('iptables-nft', ['--version'], { env }).error && 'iptables-nft is not installed';
const address = '10.96.20.1';

const nodePort = 30_080;

describe('while both kube-proxy and Heddle are programmed', { skip }, () => {
  let setup: ServiceLab;
  before(async () => {
    setup = await ServiceLab.on(new ManifestLab('migration', { podsPerNode: 5, outside: 1 }));
    const web = service('web', [address], { type: 'NodePort', ports: [{ port: 80, nodePort }] });
    await setup.agentLab.apply('web.yaml', web, slice('web', setup.v4(1)));
  });
  after(() => setup?.[Symbol.dispose]());

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
-A KUBE-SVC-ABCDEFGHIJKLMN22 -p tcp -m tcp -j DNAT --to-destination ${setup.v4(2)}:8080
COMMIT
*filter
:KUBE-FORWARD - [0:0]
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
COMMIT
`;
    setup.agentLab.node.enter(() =>
      execFileSync('iptables-nft-restore', ['--noflush'], { env, input }),
    );
  };
  const rules = () =>
    setup.agentLab.node.enter(() => execFileSync('iptables-nft-save', { env, encoding: 'utf8' }));
  const answer = async () => (await setup.onNode.tcp(address, 80)).pod;
  const ask = (socket: BlockingSocket) => {
    socket.send('who?');
    return decodeUtf8(socket.receive()).split(' ')[0];
  };
  const connect = () =>
    connectTcp(
      setup.agentLab.lab.outside[0]!,
      { address: setup.agentLab.node.addresses.v4, port: nodePort },
      2000,
    );
  /** Returns the backend that replies to an external client. */
  const outside = () => {
    using socket = connect();
    return ask(socket);
  };
  const cleanup = async (...args: string[]) => {
    const child = setup.agentLab.node.enter(() =>
      startHeddle(['cleanup', ...args], { stdio: ['ignore', 'ignore', 'inherit'] }),
    );
    assert.equal(await new Promise((resolve) => child.on('close', resolve)), 0);
  };

  test('Heddle serves before and after kube-proxy’s rules are removed, and kube-proxy after Heddle is removed', async () => {
    const { agentLab } = setup;
    const [heddles] = backendNames(1);
    const [kubeProxys] = backendNames(2);
    writeRules();
    await agentLab.kill();
    await agentLab.start('--devices', 'none');
    assert.equal(await answer(), heddles);
    using before = connect();
    assert.equal(ask(before), kubeProxys);

    await agentLab.kill();
    await agentLab.start();
    assert.equal(await answer(), heddles);
    assert.equal(outside(), heddles);
    assert.equal(ask(before), kubeProxys, 'the connection goes on by conntrack');

    await cleanup('--kube-proxy');
    assert.doesNotMatch(rules(), /KUBE-/);
    assert.equal(await answer(), heddles);
    using kept = connect();
    assert.equal(ask(kept), heddles);

    writeRules();
    const pins = agentLab.node.bpffs;
    await cleanup('--force', '--bpffs', pins, '--socket', agentLab.socket);
    // The kernel detaches programs a while after their links are unpinned.
    await agentLab.until('kube-proxy to serve', async () => (await answer()) === kubeProxys);
    await agentLab.until('kube-proxy to serve outside', () => outside() === kubeProxys);
    assert.throws(() => ask(kept), { code: 'ECONNRESET' });
  });
});
