import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { errno, type Platform, syscallNumbers } from '@heddle/sys';
import {
  assertNoTraces,
  output,
  platform,
  type Traces,
  tracesOf,
  uniqueName,
} from '../testing/kernel.ts';
import { cgroupRoot, inCgroup, ownCgroup, processesIn } from './cgroup.ts';
import { createLab, type Lab, openLab } from './lab.ts';
import type { LabHost } from './lab-host.ts';
import { listLabs } from './lab-list.ts';
import { listMounts } from './mounts.ts';
import { removeLab, removeStaleLabs } from './removal.ts';
import { BlockingSocket } from './traffic/blocking-socket.ts';

const ownerProgram = fileURLToPath(new URL('../testing/owner.ts', import.meta.url));

/** Sends a request from `from` to `to`, both in this process, and returns the answer. */
function ask(from: LabHost, to: LabHost, protocol: 'tcp' | 'udp', end: 'v4' | 'v6'): string {
  const family = end === 'v4' ? 4 : 6;
  const address = to.addresses[end];
  using server = to.enter(() => BlockingSocket.open(platform, { protocol, family }));
  server.bind({ address, port: 5000 });
  if (protocol === 'tcp') server.listen();
  using client = from.enter(() => BlockingSocket.open(platform, { protocol, family }));
  client.connect({ address, port: 5000 });
  client.send(`from ${from.name}`);
  if (protocol === 'udp') {
    const { bytes, from: source } = server.receiveFrom();
    assert.equal(new TextDecoder().decode(bytes), `from ${from.name}`);
    server.send(`${to.name} saw ${source.address}`, source);
  } else {
    using connection = server.accept();
    connection.receive();
    connection.send(`${to.name} saw ${connection.peerAddress.address}`);
  }
  return new TextDecoder().decode(client.receive());
}

let lab: Lab;

before(() => {
  lab = createLab(platform, { name: uniqueName('two'), nodes: 2, podsPerNode: 2 });
});

after(() => {
  const traces = tracesOf(lab);
  lab[Symbol.dispose]();
  lab[Symbol.dispose]();
  assertNoTraces(traces);
});

test('all hosts of a lab reach each other over TCP and UDP, IPv4 and IPv6, with their own addresses', () => {
  const [a, b] = lab.nodes;
  const pairs: [string, LabHost, LabHost][] = [
    ['pod to pod of its node', a!.pods[0]!, a!.pods[1]!],
    ['pod to pod of another node', a!.pods[0]!, b!.pods[1]!],
    ['node to its pod', a!, a!.pods[0]!],
    ['node to a pod of another node', a!, b!.pods[0]!],
    ['node to node', a!, b!],
    ['pod to its node', a!.pods[0]!, a!],
    ['pod to another node', a!.pods[0]!, b!],
    ['outside to pod', lab.underlay, b!.pods[0]!],
    ['pod to outside', b!.pods[1]!, lab.underlay],
    ['pod to itself', a!.pods[0]!, a!.pods[0]!],
  ];
  for (const [what, from, to] of pairs) {
    for (const protocol of ['tcp', 'udp'] as const) {
      for (const end of ['v4', 'v6'] as const) {
        const answer = ask(from, to, protocol, end);
        assert.equal(
          answer,
          `${to.name} saw ${from.addresses[end]}`,
          `${what}, ${protocol} ${end}`,
        );
      }
    }
  }
});

test('names, addresses and cgroups are those that the README documents', () => {
  const pod = lab.nodes[1]!.pods[1]!;
  assert.deepEqual(pod.addresses, { v4: '10.244.2.2', v6: 'fd00:10:244:2::2' });
  assert.deepEqual(lab.nodes[0]!.addresses, { v4: '192.0.2.1', v6: 'fd00:192:0:2::1' });
  assert.equal(pod.name, 'pod-2-2');
  assert.equal(pod.cgroup, `${lab.nodes[1]!.cgroup}/pod-2-2`);
});

test('spawn starts a process in the namespace and cgroup of the host, and this process stays in its own', async () => {
  const pod = lab.pods[0]!;
  const own = ownCgroup();
  const child = pod.spawn('cat', ['/proc/self/cgroup', '/proc/self/net/fib_trie']);
  const text = await output(child);
  assert.equal(child.exitCode, 0);
  assert.ok(text.includes(`${pod.cgroup.slice(cgroupRoot().length)}\n`), text);
  assert.ok(text.includes(pod.addresses.v4));
  assert.equal(ownCgroup(), own);
  assert.equal(
    readFileSync('/proc/thread-self/net/fib_trie', 'utf8').includes('10.244.1.1'),
    false,
  );
});

test('spawn of a missing command is an error of the child, and this process stays in its cgroup', async () => {
  const own = ownCgroup();
  const child = lab.pods[0]!.spawn('/nowhere/to/be/found');
  const [error] = await once(child, 'error');
  assert.equal(error.code, 'ENOENT');
  assert.equal(ownCgroup(), own);
});

test('setSysctl and netnsCookie are those of the host', () => {
  const [one, two] = lab.pods;
  one!.setSysctl('net/ipv4/ip_default_ttl', 33);
  const ttl = () => readFileSync('/proc/sys/net/ipv4/ip_default_ttl', 'utf8').trim();
  assert.equal(one!.enter(ttl), '33');
  assert.equal(two!.enter(ttl), '64');
  assert.notEqual(one!.netnsCookie, two!.netnsCookie);
});

test('pods are added and removed while others run', async () => {
  const node = lab.nodes[0]!;
  const pod = lab.addPod(node, 'extra');
  assert.equal(pod.addresses.v4, '10.244.1.3');
  assert.equal(ask(lab.pods[0]!, pod, 'tcp', 'v4'), 'extra saw 10.244.1.1');
  assert.throws(() => lab.addPod(node, 'extra'), /already/);
  assert.throws(() => lab.addPod(node, 'Not A Name'), RangeError);
  const child = pod.spawn('sleep', ['1000']);
  lab.removePod(pod);
  assert.equal(existsSync(pod.cgroup), false);
  assert.equal(existsSync(pod.netnsPath), false);
  assert.equal(node.pods.length, 2);
  const again = lab.addPod(node, 'extra');
  assert.equal(ask(lab.nodes[1]!.pods[0]!, again, 'udp', 'v6'), 'extra saw fd00:10:244:2::1');
  lab.removePod(again);
  await once(child, 'exit');
});

test('another process opens the lab and runs a process in it', () => {
  const other = openLab(platform, lab.name)!;
  assert.deepEqual(
    other.pods.map(({ name }) => name),
    ['pod-1-1', 'pod-1-2', 'pod-2-1', 'pod-2-2'],
  );
  assert.equal(
    ask(other.host('pod-1-1'), other.host('node2'), 'tcp', 'v4'),
    'node2 saw 10.244.1.1',
  );
  assert.throws(() => other.host('pod-9-9'), /there are only underlay, node1/);
  // This process is not the owner, so this has no effect.
  other[Symbol.dispose]();
  assert.ok(existsSync(lab.nodes[0]!.netnsPath));
  const summary = listLabs().find(({ name }) => name === lab.name);
  assert.deepEqual(summary, {
    name: lab.name,
    keep: false,
    owner: process.pid,
    ownerAlive: true,
    nodes: 2,
    pods: 4,
  });
  assert.equal(openLab(platform, 'no-such-lab'), undefined);
});

test('the name of an existing lab is refused', () => {
  assert.throws(() => createLab(platform, { name: lab.name }), /exists already .*heddle lab down/);
  assert.ok(existsSync(lab.nodes[0]!.netnsPath), 'the first one is unharmed');
  assert.throws(() => createLab(platform, { name: '../x' }), RangeError);
});

test('removal ends all processes, also those that ignore signals, and removes all pins', async () => {
  using small = createLab(platform, { name: uniqueName('small'), podsPerNode: 1 });
  mkdirSync(`${small.nodes[0]!.bpffs}/heddle/v1`, { recursive: true });
  const stubborn = small.pods[0]!.spawn(process.execPath, [
    '-e',
    `process.on('SIGTERM', () => {}); setInterval(() => {}, 1000); process.stdout.write('up')`,
  ]);
  await once(stubborn.stdout!, 'data');
  const traces = tracesOf(small);
  assert.equal(traces.processes.length, 1);
  small[Symbol.dispose]();
  assertNoTraces(traces);
  assert.equal(removeLab(platform, small.name), false);
  assert.throws(() => small.addPod(small.nodes[0]!), /gone/);
});

/** Returns the platform with the system calls for which `fails` returns true failing with EIO. */
function failing(fails: (number: number) => boolean): Platform {
  return {
    ...platform,
    syscall: (number, ...args) => (fails(number) ? -errno.EIO : platform.syscall(number, ...args)),
  };
}

test('createLab leaves nothing behind, whichever system call fails', () => {
  const name = uniqueName('failed');
  const nr = syscallNumbers(platform);
  const leftovers = () => [
    ...readdirSync(cgroupRoot()).filter((each) => each.includes(name)),
    ...listMounts().filter(({ path }) => path.includes(`_${process.pid}_`) || path.includes(name)),
  ];
  // Netlink requests, of which this lab needs about fifty, and mounts.
  for (const at of [1, 2, 10, 25, 40]) {
    let sent = 0;
    const broken = failing((number) => number === nr.sendto && ++sent === at);
    assert.throws(() => createLab(broken, { name, podsPerNode: 2 }), { code: 'EIO' });
    assert.equal(openLab(platform, name), undefined);
    assert.deepEqual(leftovers(), []);
  }
  for (const at of [1, 2, 4]) {
    let mounts = 0;
    const broken = failing((number) => number === nr.mount && ++mounts === at);
    assert.throws(() => createLab(broken, { name, podsPerNode: 2 }), { code: 'EIO' });
    assert.deepEqual(leftovers(), []);
  }
  assert.throws(() => createLab(platform, { name, nodes: 251 }), RangeError);
  assert.throws(() => createLab(platform, { name, podsPerNode: 251 }), RangeError);
  assert.equal(openLab(platform, name), undefined);
});

async function startOwner(name: string, wayOut?: string) {
  const child = spawn(process.execPath, [ownerProgram, name, ...(wayOut ? [wayOut] : [])], {
    stdio: ['ignore', 'pipe', wayOut === 'throw' ? 'ignore' : 'inherit'],
  });
  const [line] = await once(child.stdout, 'data');
  return { child, traces: JSON.parse(`${line}`) as Traces };
}

test('the next createLab removes the lab of a killed process', async () => {
  const name = uniqueName('killed');
  const { child, traces } = await startOwner(name);
  assert.equal(traces.processes.length, 1);
  assert.deepEqual(removeStaleLabs(platform).includes(name), false, 'its owner is alive');
  child.kill('SIGKILL');
  await once(child, 'exit');
  assert.ok(existsSync(traces.cgroup));
  using next = createLab(platform, { name });
  assertNoTraces({ ...traces, folder: '/nowhere', cgroup: '/nowhere' });
  assert.equal(next.pods.length, 0);
});

test('a lab ends with its owner, also when that throws or exits', async () => {
  for (const wayOut of ['throw', 'exit']) {
    const { child, traces } = await startOwner(uniqueName(wayOut), wayOut);
    if (child.exitCode === null) await once(child, 'exit');
    assertNoTraces(traces);
  }
});

test('a lab with keep stays until it is removed by name', async () => {
  const name = uniqueName('kept');
  const { child, traces } = await startOwner(name, 'keep');
  if (child.exitCode === null) await once(child, 'exit');
  try {
    removeStaleLabs(platform);
    const kept = openLab(platform, name)!;
    assert.equal(ask(kept.pods[0]!, kept.pods[1]!, 'tcp', 'v4'), 'pod-1-2 saw 10.244.1.1');
    assert.equal(processesIn(kept.cgroup).length, 1);
  } finally {
    assert.equal(removeLab(platform, name), true);
  }
  assert.equal(removeLab(platform, name), false);
  assertNoTraces(traces);
});

test('two processes can remove labs at the same time', async () => {
  const name = uniqueName('both');
  const { child, traces } = await startOwner(name);
  child.kill('SIGKILL');
  await once(child, 'exit');
  const program = `
    import { removeStaleLabs } from '${new URL('./removal.ts', import.meta.url)}';
    import { nodePlatform } from '@heddle/sys/node';
    removeStaleLabs(nodePlatform());`;
  const runs = [1, 2, 3].map(() =>
    spawn(process.execPath, ['--input-type=module', '-e', program], {
      stdio: ['ignore', 'inherit', 'inherit'],
      cwd: fileURLToPath(new URL('.', import.meta.url)),
    }),
  );
  const codes = await Promise.all(runs.map(async (run) => (await once(run, 'exit'))[0]));
  assert.deepEqual(codes, [0, 0, 0]);
  assertNoTraces(traces);
});

test('a process inside a lab survives the removal of the lab', () => {
  using small = createLab(platform, { name: uniqueName('inside') });
  const own = ownCgroup();
  const traces = tracesOf(small);
  try {
    writeFileSync(`${small.nodes[0]!.cgroup}/cgroup.procs`, `${process.pid}`);
    small[Symbol.dispose]();
    assertNoTraces(traces);
  } finally {
    writeFileSync(`${own}/cgroup.procs`, `${process.pid}`);
  }
});

test('inCgroup returns to the previous cgroup, also when the work throws', () => {
  const own = ownCgroup();
  const { cgroup } = lab.pods[0]!;
  assert.equal(inCgroup(cgroup, ownCgroup), cgroup);
  assert.throws(() => inCgroup(cgroup, () => assert.fail('inside')), /inside/);
  assert.equal(ownCgroup(), own);
});

test('a lab leaves no descriptor open', () => {
  const count = () => readdirSync('/proc/self/fd').length;
  const before = count();
  using small = createLab(platform, { name: uniqueName('fds'), nodes: 2, podsPerNode: 1 });
  small.removePod(small.addPod(small.nodes[0]!));
  small.pods[0]!.enter(() => {});
  small[Symbol.dispose]();
  assert.equal(count(), before);
});
