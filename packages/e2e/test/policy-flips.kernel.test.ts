// Network policies change without a pause while connections are made: what both states allow always passes, and what both
// deny never does. HEDDLE_CONNECTIONS=250000 makes more for each client. It fails where numbers of rules are used again
// while programs may still read a subject that has them: half of the denied datagrams arrive if `retire` of
// datapath/src/policy/rule-numbers.ts frees them at once.
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { LabHost } from '@heddle/lab';
import type { ManifestObject } from '../testing/node-network-lab.ts';
import { changesOf, DirectPolicyLab } from '../testing/policy/direct-lab.ts';
import { all, app, networkPolicy, port } from '../testing/policy/own-objects.ts';
import { namespaceObject } from '../testing/policy/policy-lab.ts';

const count = Number(process.env.HEDDLE_CONNECTIONS ?? 1000);
const peer = fileURLToPath(new URL('../testing/policy/flip-peer.ts', import.meta.url));
const ends = ['v4', 'v6'] as const;

const [server, other, client] = ['server', 'other', 'client'].map((name) => ({
  podSelector: app(name),
}));
const tcp = [port('TCP', 80)];
const udp = [port('UDP', 81)];

/** Clients may connect to TCP port 80 of servers, and may not send to their UDP port 81, in both states. */
const states: readonly (readonly ManifestObject[])[] = [
  [
    networkPolicy('shop/server', { ...server!, ingress: [{ from: [client], ports: tcp }] }),
    networkPolicy('shop/other', { ...other!, ingress: [{ from: [client], ports: udp }] }),
  ],
  [
    networkPolicy('shop/server', {
      ...server!,
      ingress: [
        { from: [other], ports: udp },
        { from: [{ namespaceSelector: all }], ports: [port('TCP', 79, 80)] },
      ],
    }),
    networkPolicy('shop/other', {
      ...other!,
      ingress: [{ from: [client] }, { ports: [...tcp, ...udp] }],
    }),
    networkPolicy('shop/client', { ...client!, egress: [{ to: [server], ports: tcp }] }),
  ],
];

let lab: DirectPolicyLab;
const hosts = new Map<string, LabHost>();
before(async () => {
  lab = new DirectPolicyLab('policy-flips');
  lab.change({ put: [namespaceObject('shop', {})] });
  for (const [name, node, label] of [
    ['client', 1, 'client'],
    ['near', 1, 'server'],
    ['far', 2, 'server'],
    ['other-1', 1, 'other'],
    ['other-2', 2, 'other'],
  ] as const) {
    const spec = { namespace: 'shop', name, labels: { app: label }, node, ports: [] };
    hosts.set(name, await lab.connect(spec));
  }
  lab.change({ put: states[0]! });
});
after(() => lab?.[Symbol.dispose]());

/** Starts the process of a pod. */
function start(host: LabHost, ...args: string[]): ChildProcess {
  const child = host.spawn(process.execPath, [peer, ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  return child;
}

const names = (state: readonly ManifestObject[]) => state.map(({ metadata }) => metadata.name);
/** The changes that lead to each state from the other one. */
const changes = states.map((put, i) => {
  const before = states[1 - i]!;
  return changesOf({
    put,
    remove: before.filter((each) => !names(put).includes(each.metadata.name)),
  });
});

let flips = 0;
/** Changes the policies until a process has ended, and returns its output. */
async function flipDuring(child: ChildProcess): Promise<string> {
  let output: string | undefined;
  void text(child.stdout!).then((all) => {
    output = all;
  });
  while (output === undefined) {
    lab.program(changes[++flips % 2]!);
    await turn();
  }
  return output;
}

for (const name of ['near', 'far'] as const) {
  test(`policies that change all the time give no connection to a ${name} pod a wrong verdict`, async () => {
    const server = hosts.get(name)!;
    const { v4, v6 } = server.addresses;
    const serving = start(server, 'serve', v4, v6);
    await once(serving.stdout!, 'data');
    const drops = lab.drops();
    const before = flips;
    const started = performance.now();
    for (const end of ends) {
      const calling = start(hosts.get('client')!, 'call', server.addresses[end], `${count}`);
      const made = JSON.parse(await flipDuring(calling));
      assert.deepEqual(made, { connections: count, datagrams: count, errors: [] });
    }
    const seconds = (performance.now() - started) / 1000;
    const output = text(serving.stdout!);
    serving.stdin!.end();
    assert.deepEqual(JSON.parse(await output), { connections: 2 * count, datagrams: 0 });
    // Each datagram is dropped once, and nothing else.
    assert.equal(lab.drops() - drops, 2 * count);
    const made = flips - before;
    assert.ok(made > 50, `${made} changes`);
    console.log(
      `${made} changes, ${Math.round(made / seconds)} a second; ${2 * count} connections`,
    );
  });
}
