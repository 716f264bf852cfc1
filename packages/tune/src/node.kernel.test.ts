import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  addAddress,
  addQdisc,
  addRoute,
  createVeth,
  deleteLink,
  isNetlinkError,
  NetlinkSocket,
  NetworkNamespace,
  removeQdisc,
} from '@heddle/netlink';
import { nodePlatform } from '@heddle/sys/node';
import fc from 'fast-check';
import { applyChanges, revertChanges } from './apply.ts';
import { type Finding, keyOf, setSysctl, type Target } from './check.ts';
import { examine } from './examine.ts';
import { journalFile } from './journal.ts';
import { Ethtool } from './read/ethtool.ts';
import { readFacts } from './read/node.ts';
import { nodeSettings } from './settings.ts';

const platform = nodePlatform();
const settings = nodeSettings(platform);

/** A network namespace with an external interface `front`, and a journal. */
class Node implements Disposable {
  readonly namespace = NetworkNamespace.create(platform);
  readonly folder = mkdtempSync(join(tmpdir(), 'tune-'));
  readonly store = journalFile(platform, join(this.folder, 'state', 'tune.json'));
  readonly link: number;

  constructor() {
    using socket = this.namespace.enter(() => new NetlinkSocket(platform));
    const { link } = createVeth(socket, { name: 'front', up: true }, { name: 'other', up: true });
    this.link = link.index;
    addAddress(socket, link.index, '192.0.2.1/24');
    addRoute(socket, { destination: '0.0.0.0/0', link: link.index, via: '192.0.2.254' });
  }

  findings(): Finding[] {
    return this.namespace.enter(() => examine(readFacts(platform, { unknown: 'no agent' })));
  }

  /** Returns the only finding of a check about a subject. */
  finding(name: string, subject?: string): Finding {
    const found = this.findings().filter((each) => each.name === name && each.subject === subject);
    assert.equal(found.length, 1, `${name} ${subject}`);
    return found[0]!;
  }

  apply(...findings: readonly Finding[]) {
    const changes = findings.flatMap((finding) => finding.changes ?? []);
    return this.namespace.enter(() => applyChanges(changes, settings, this.store));
  }

  revert() {
    return this.namespace.enter(() => revertChanges(settings, this.store));
  }

  read(target: Target): string {
    return this.namespace.enter(() => settings.read(target));
  }

  write(name: string, value: string): void {
    this.namespace.enter(() => settings.write({ kind: 'sysctl', name }, value));
  }

  /** Returns the values of all settings that can be changed in a namespace. */
  values(): [string, string][] {
    const conf = ['all', 'default', 'lo', 'front', 'other'].flatMap((name) => [
      `net/ipv4/conf/${name}/forwarding`,
      `net/ipv4/conf/${name}/rp_filter`,
      `net/ipv6/conf/${name}/forwarding`,
      `net/ipv6/conf/${name}/accept_ra`,
    ]);
    return [
      ...['net/ipv4/ip_forward', 'net/ipv4/conf/all/accept_redirects', 'net/ipv4/tcp_tw_reuse'],
      ...['net/ipv4/ip_local_reserved_ports', ...conf],
    ].map((name) => [name, this.read({ kind: 'sysctl', name })]);
  }

  [Symbol.dispose](): void {
    this.namespace[Symbol.dispose]();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

test('forwarding, rp_filter, reserved ports and tcp_tw_reuse are applied and reverted', () => {
  using node = new Node();
  node.write('net/ipv4/ip_forward', '0');
  node.write('net/ipv4/conf/other/forwarding', '1');
  node.write('net/ipv4/conf/front/rp_filter', '1');
  node.write('net/ipv4/tcp_tw_reuse', '2');
  node.write('net/ipv4/ip_local_port_range', '20000 60999');
  node.write('net/ipv4/ip_local_reserved_ports', '8080');
  const before = node.values();
  const findings = node.findings();
  const outcomes = node.apply(...findings.filter(({ name }) => name !== 'fq'));
  assert.deepEqual(
    outcomes.filter(({ problem }) => problem !== undefined),
    [],
  );
  for (const name of ['forwarding', 'rp-filter', 'tcp-tw-reuse']) {
    const now = node.findings().filter((each) => each.name === name && each.state !== 'good');
    assert.deepEqual(now, [], name);
  }
  assert.doesNotMatch(node.finding('local-ports').found, /choose/);
  assert.notDeepEqual(node.values(), before);
  node.revert();
  assert.deepEqual(node.values(), before);
  assert.deepEqual(node.revert(), []);
});

test('an offload is turned on and restored', () => {
  using node = new Node();
  const set = (on: boolean) =>
    node.namespace.enter(() => {
      using ethtool = new Ethtool(platform);
      ethtool.setFeature('front', 'tx-tcp-segmentation', on);
    });
  set(false);
  const finding = node.finding('offloads', 'front');
  assert.match(finding.found, /tx-tcp-segmentation/);
  node.apply(finding);
  const target = { kind: 'feature', device: 'front', feature: 'tx-tcp-segmentation' } as const;
  assert.equal(node.read(target), 'on');
  node.revert();
  assert.equal(node.read(target), 'off');
});

test('fq is added at the external interface and removed again, or refused by a kernel without it', () => {
  using node = new Node();
  using socket = node.namespace.enter(() => new NetlinkSocket(platform));
  const target = { kind: 'qdisc', device: 'front' } as const;
  assert.match(node.read(target), /^default/);
  const before = node.read(target);
  const change = { target, value: 'fq' };
  const apply = () => applyChanges([change], settings, node.store);
  const [outcome] = node.namespace.enter(apply);
  if (hasFq(socket, node.link)) {
    assert.equal(outcome?.problem, undefined);
    assert.equal(node.read(target), 'fq');
    assert.equal(node.finding('fq', 'front').state, 'good');
    node.revert();
  } else {
    assert.match(outcome?.problem ?? '', /add qdisc fq/);
    assert.deepEqual(node.store.load().entries, []);
    assert.equal(node.finding('fq', 'front').canApply, false);
  }
  assert.equal(node.read(target), before);
});

/** Returns true if an interface has fq, or the kernel can add it. */
function hasFq(socket: NetlinkSocket, link: number): boolean {
  try {
    addQdisc(socket, { link, kind: 'fq' });
    removeQdisc(socket, { link, kind: 'fq' });
    return true;
  } catch (error) {
    return isNetlinkError(error, 'EEXIST');
  }
}

test('the settings of an interface that is gone need no revert', () => {
  using node = new Node();
  node.write('net/ipv4/conf/front/rp_filter', '1');
  node.apply(node.finding('rp-filter', 'front'));
  using socket = node.namespace.enter(() => new NetlinkSocket(platform));
  deleteLink(socket, node.link);
  assert.deepEqual(node.revert(), []);
  assert.deepEqual(node.store.load().entries, []);
});

test('any changes are reverted after any earlier values, also when they were interrupted', () => {
  using node = new Node();
  const names = [
    'net/ipv4/ip_forward',
    'net/ipv4/conf/front/forwarding',
    'net/ipv4/conf/other/forwarding',
    'net/ipv4/conf/front/rp_filter',
    'net/ipv4/tcp_tw_reuse',
  ];
  class Killed {}
  fc.assert(
    fc.property(fc.array(fc.nat(1), { minLength: 5, maxLength: 5 }), fc.nat(6), (initial, stop) => {
      names.forEach((name, i) => {
        node.write(name, `${initial[i]}`);
      });
      const before = node.values();
      let left = stop;
      const interrupted = {
        read: settings.read,
        write: (target: Target, value: string) => {
          if (left-- <= 0) throw new Killed();
          settings.write(target, value);
        },
      };
      // The master and what it changes, as the finding about forwarding has them.
      const conf = before.filter(([name]) => /ipv4\/conf\/\w+\/forwarding$/.test(name));
      const changes = [
        setSysctl(names[0]!, '1'),
        ...conf.map(([name]) => setSysctl(name, '1')),
        setSysctl('net/ipv4/conf/all/accept_redirects', '0'),
        setSysctl(names[3]!, '2'),
        setSysctl(names[4]!, '1'),
      ];
      node.namespace.enter(() => {
        try {
          applyChanges(changes, interrupted, node.store);
        } catch (error) {
          if (!(error instanceof Killed)) throw error;
        }
      });
      const problems = node.revert().filter(({ problem }) => problem !== undefined);
      assert.deepEqual(problems, []);
      assert.deepEqual(node.values(), before);
    }),
    { numRuns: 60 },
  );
});

test('each key of a finding with changes can be read on this node', () => {
  using node = new Node();
  for (const { changes = [] } of node.findings()) {
    for (const { target } of changes) assert.notEqual(node.read(target), '', keyOf(target));
  }
});
