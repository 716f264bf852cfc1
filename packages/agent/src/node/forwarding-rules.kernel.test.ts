import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { describe, test } from 'node:test';
import { NetworkNamespace } from '@heddle/netlink';
import { nodePlatform } from '@heddle/sys/node';
import { looksAtForwardedConnections } from './forwarding-rules.ts';
import { isTracking } from './tracking.ts';

const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
const missing = (command: string) =>
  spawnSync(command, ['--version'], { env }).error && `${command} is not installed`;
const platform = nodePlatform(() => {});

/** The kubelet's rules (pkg/kubelet/kubelet_network_linux.go of Kubernetes 1.36), for iptables-restore. */
const kubelet = `*mangle
:KUBE-IPTABLES-HINT - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
COMMIT
*filter
:KUBE-FIREWALL - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
-A INPUT -j KUBE-FIREWALL
-A OUTPUT -j KUBE-FIREWALL
-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
COMMIT
*nat
:KUBE-MARK-DROP - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
-A KUBE-MARK-DROP -j MARK --set-xmark 0x8000/0x8000
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
COMMIT
`;
const invalid = `*filter
-A FORWARD -m conntrack --ctstate INVALID -j DROP
COMMIT
`;

/** Rules, and whether they are about forwarded connections. */
const nftables: readonly (readonly [what: string, rules: string, expected: boolean])[] = [
  ['no rule', '', false],
  [
    'a rule for connections to the node',
    'table inet t { chain i { type filter hook input priority 0; ct state invalid drop; }; }',
    false,
  ],
  [
    'a filter of forwarded packets by addresses and ports',
    'table inet t { set s { type ipv4_addr; }; chain f { type filter hook forward priority 0; ip saddr @s tcp dport 22 counter drop; meta mark 7 log accept; }; }',
    false,
  ],
  [
    'a rule against forwarded packets in state INVALID',
    'table inet t { chain f { type filter hook forward priority 0; ct state invalid drop; }; }',
    true,
  ],
  [
    'such a rule in a chain that another one goes on with',
    'table ip t { chain b { ct state established accept; }; chain a { goto b; }; chain f { type filter hook forward priority 0; tcp dport 1-9 jump a; }; }',
    true,
  ],
  [
    'such a rule in a chain that only the node’s own packets meet',
    'table ip t { chain b { ct state established accept; }; chain o { type filter hook output priority 0; jump b; }; chain f { type filter hook forward priority 0; accept; }; }',
    false,
  ],
  [
    'a map of verdicts',
    'table ip t { chain b { accept; }; chain f { type filter hook forward priority 0; tcp dport vmap { 1 : jump b }; }; }',
    true,
  ],
  [
    'masquerading',
    'table ip6 t { chain p { type nat hook postrouting priority 100; ip6 saddr fd00::/8 masquerade; }; }',
    true,
  ],
  [
    'a translation of destinations',
    'table ip t { chain p { type nat hook prerouting priority -100; tcp dport 80 dnat to 192.0.2.7; }; }',
    true,
  ],
  [
    'a table of bridges',
    'table bridge t { chain f { type filter hook forward priority 0; accept; }; }',
    true,
  ],
];

describe('rules that look at forwarded connections', () => {
  const judged = (write: () => void) => {
    using namespace = NetworkNamespace.create(platform);
    return namespace.enter(() => {
      write();
      return looksAtForwardedConnections(platform);
    });
  };

  for (const [what, rules, expected] of nftables) {
    test(`nftables: ${what}: ${expected}`, { skip: missing('nft') }, () => {
      const write = () => execFileSync('nft', ['-f', '-'], { env, input: rules });
      assert.equal(judged(write), expected);
    });
  }

  const restore = (command: string, rules: string) => () =>
    execFileSync(`${command}-restore`, ['--noflush'], { env, input: rules });

  test('iptables-nft: the kubelet’s rules are not', { skip: missing('iptables-nft') }, () => {
    assert.equal(judged(restore('iptables-nft', kubelet)), false);
    assert.equal(judged(restore('ip6tables-nft', kubelet.replaceAll('127.0.0.0/8', '::1'))), false);
  });

  test('iptables-nft: a rule against state INVALID is', { skip: missing('iptables-nft') }, () => {
    assert.equal(judged(restore('iptables-nft', kubelet + invalid)), true);
    assert.equal(judged(restore('ip6tables-nft', invalid)), true);
  });

  test('iptables-legacy: any rules may be', { skip: missing('iptables-legacy') }, () => {
    assert.equal(judged(restore('iptables-legacy', kubelet)), true);
    assert.equal(judged(restore('iptables-legacy', kubelet + invalid)), true);
  });

  test('the kubelet’s rules have netfilter track connections', {
    skip: missing('iptables-nft'),
  }, () => {
    using namespace = NetworkNamespace.create(platform);
    namespace.enter(() => {
      restore('iptables-nft', kubelet)();
      execFileSync('ip', ['link', 'set', 'lo', 'up'], { env });
      const script =
        "require('dgram').createSocket('udp4').send('x', 9, '127.0.0.1', process.exit)";
      execFileSync(process.execPath, ['-e', script]);
      assert.equal(isTracking(platform), true);
      assert.equal(looksAtForwardedConnections(platform), false);
    });
  });
});
