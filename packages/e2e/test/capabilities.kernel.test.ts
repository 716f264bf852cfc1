// Runs the agent with the DaemonSet's capabilities in a mount namespace that is read-only where a
// pod's is, and without each capability.
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { dirname } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { AgentStatus, DropNotice, FlowItem } from '@heddle/agent';
import { deploymentObjects, readSettings } from '@heddle/deploy';
import { flowsAt } from '@heddle/hubble/testing/client';
import { askTcp, askUdp, startBackend } from '@heddle/lab';
import { createVeth, deleteLink } from '@heddle/netlink';
import { SysError } from '@heddle/sys';
import { ManifestLab } from '../testing/manifest-lab.ts';
import { service, slice } from '../testing/objects.ts';

const program = fileURLToPath(import.meta.resolve('@heddle/cli/main'));
const withoutTcx = fileURLToPath(new URL('../testing/without-tcx.ts', import.meta.url));

interface Container {
  readonly args: readonly string[];
  readonly securityContext: { readonly capabilities: { readonly add: readonly string[] } };
}
interface PodSpec {
  readonly containers: readonly [agent: Container, observer: Container];
}

const objects = deploymentObjects(readSettings(['visibility=true'], '0'));
const daemonSet = objects.find(({ kind }) => kind === 'DaemonSet');
const { spec } = (daemonSet!.spec as unknown as { template: { spec: PodSpec } }).template;
const [agentContainer, observerContainer] = spec.containers;
const granted = agentContainer.securityContext.capabilities.add;

/** Makes the mounts read-only that are so in a pod; $1 is the folder with its writable volumes. */
const asPod = `set -e
mount --rbind "$1" "$1"
for each in / /sys /proc/sys; do
  mountpoint -q $each || mount --bind $each $each
  mount -o remount,bind,ro $each
done
shift
exec "$@"`;

/** Makes the folder $0 read-only, as the observer has the BPF file system. */
const withReadOnly = `set -e
mount --bind "$0" "$0"
mount -o remount,bind,ro "$0"
exec "$@"`;

/** Returns the name of the pod that replied, or the error code. */
function outcome(ask: () => string): string {
  try {
    return ask().split(' ')[0]!;
  } catch (error) {
    if (error instanceof SysError) return error.code;
    throw error;
  }
}

/** A process with the capabilities and mounts of a pod. */
class InPod {
  readonly #agentLab: ManifestLab;
  readonly #process: ChildProcess;
  readonly #ended: Promise<unknown>;
  /** The output of the process. */
  output = '';

  constructor(
    agentLab: ManifestLab,
    capabilities: readonly string[],
    args: readonly string[],
    /** A command that runs the rest with further mounts. */
    mounts: readonly string[] = [],
  ) {
    const bounds = ['-all', ...capabilities.map((name) => `+${name.toLowerCase()}`)].join();
    this.#agentLab = agentLab;
    this.#process = agentLab.node.spawn(
      'unshare',
      [
        ...['--mount', '--propagation', 'private', 'sh', '-c', asPod],
        ...['pod', dirname(agentLab.lab.bpffs), ...mounts],
        ...['setpriv', '--no-new-privs', `--bounding-set=${bounds}`, '--inh-caps=-all'],
        ...[process.execPath, ...args, '--socket', agentLab.socket],
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    for (const stream of [this.#process.stdout!, this.#process.stderr!]) {
      stream.on('data', (data) => {
        this.output += data;
      });
    }
    this.#ended = once(this.#process, 'close');
  }

  /** Waits until its output matches; fails if it ends before. */
  async says(pattern: RegExp): Promise<void> {
    await this.#agentLab.until(
      `${pattern}`,
      () => pattern.test(this.output) || this.#process.exitCode !== null,
    );
    assert.match(this.output, pattern);
  }

  async end(): Promise<void> {
    this.#process.kill();
    await this.#ended;
  }
}

describe('the capabilities of the DaemonSet', () => {
  let agentLab: ManifestLab;
  const started: InPod[] = [];
  before(async () => {
    agentLab = new ManifestLab('rights', { podsPerNode: 1, outside: 1 });
    const pod = agentLab.pod(0);
    await startBackend(pod, { tcp: [8080], udp: [8080] });
    agentLab.write(
      'web.yaml',
      service('web', ['10.96.21.1'], {
        type: 'NodePort',
        ports: [{ port: 80, nodePort: 30_080 }],
      }),
      slice('web', [pod.addresses.v4]),
      service('empty', ['10.96.21.2'], {
        type: 'NodePort',
        ports: [{ port: 80, protocol: 'UDP', nodePort: 30_081 }],
      }),
    );
  });
  afterEach(() => Promise.all(started.splice(0).map((each) => each.end())));
  after(() => agentLab?.[Symbol.dispose]());

  const inPod = (capabilities: readonly string[], ...args: readonly string[]) => {
    const process = new InPod(agentLab, capabilities, args);
    started.push(process);
    return process;
  };
  const agent = (capabilities: readonly string[], ...nodeArgs: readonly string[]) => {
    const { node, folder } = agentLab;
    return inPod(
      capabilities,
      ...nodeArgs,
      program,
      'agent',
      '--manifests',
      folder,
      ...[
        ...['--node', node.name, '--cgroup', node.cgroup, '--bpffs', node.bpffs],
        ...['--devices', 'eth0,later*'],
      ],
    );
  };

  for (const [hook, args] of [
    ['tcx', []],
    ['clsact', ['--import', withoutTcx]],
  ] as const) {
    test(`suffice for services and for external traffic by ${hook}`, async () => {
      const running = agent(granted, ...args);
      await running.says(/manifests read: 2 rows programmed/);
      const client = agentLab.lab.outside[0]!;
      const address = agentLab.node.addresses.v4;

      assert.equal(
        outcome(() => askTcp(client, { address, port: 30_080 }, 'who?')),
        'pod-1-1',
      );
      const flows = inPod(granted, program, 'flow', 'list', '-o', 'json');
      await flows.says(/}\s*$/);
      const [flow] = (JSON.parse(flows.output) as { flows: FlowItem[] }).flows;
      assert.equal(flow?.client, client.addresses.v4);

      const drops = inPod(granted, program, 'drop', 'watch', '-o', 'json');
      await agentLab.until('a drop to be seen', () => {
        assert.throws(() => askUdp(client, { address, port: 30_081 }, 'who?', 500));
        return drops.output.includes('\n');
      });
      const drop = JSON.parse(drops.output.split('\n')[0]!) as DropNotice;
      assert.deepEqual([drop.reason, drop.source], ['no endpoints', client.addresses.v4]);

      agentLab.node.configure((socket) =>
        createVeth(socket, { name: 'later0', up: true }, { name: 'peer0' }),
      );
      await running.says(/external traffic is now served on eth0, later0/);
      const { index } = agentLab.node.link('later0');
      agentLab.node.configure((socket) => deleteLink(socket, index));
      await running.says(/external traffic is now served on eth0[^,]/);
      assert.doesNotMatch(running.output, /serve external traffic|EPERM|EACCES|EROFS/);

      const hooks = (await agentLab.heddle('status')) as AgentStatus;
      const isMissing = hooks.datapath.missing.some(({ feature }) => feature === 'link/tcx');
      assert.equal(isMissing, hook === 'clsact');
      const cleanup = inPod(granted, program, 'cleanup', '--force', '--bpffs', agentLab.node.bpffs);
      await cleanup.says(/removed/);
      await agentLab.until('the programs to go', () => {
        const answer = outcome(() => askTcp(client, { address, port: 30_080 }, 'who?', 500));
        return answer === 'ECONNREFUSED';
      });
    });
  }

  test('those of the observer suffice for its arguments, with a read-only BPF file system', async () => {
    await agent(granted).says(/manifests read: 2 rows programmed/);
    const { node, socket } = agentLab;
    const flowSocket = `${socket}.hubble`;
    const args = observerContainer.args.map((arg) =>
      arg.replace('unix:///run/heddle/hubble.sock', `unix://${flowSocket}`),
    );
    const ownPaths = ['--bpffs', node.bpffs];
    const mounts = ['sh', '-c', withReadOnly, node.bpffs];
    const { add } = observerContainer.securityContext.capabilities;
    const running = new InPod(agentLab, add, [program, ...args, ...ownPaths], mounts);
    started.push(running);
    await running.says(/serves unix:/);
    const client = agentLab.lab.outside[0]!;
    const flow = await agentLab.until('a flow', async () => {
      outcome(() => askTcp(client, { address: node.addresses.v4, port: 30_080 }, 'who?'));
      const found = await flowsAt(flowSocket, { whitelist: [{ destinationPort: ['8080'] }] });
      return found[0];
    });
    assert.equal(flow.IP?.source, client.addresses.v4);
    assert.doesNotMatch(running.output, /cannot be read|not permitted|EPERM|EACCES|EROFS/);
  });

  test('the agent starts without SYS_ADMIN, and reports any other missing capability', async () => {
    const others = granted.filter((name) => name !== 'SYS_ADMIN');
    assert.equal(others.length, 3);
    await agent(others).says(/manifests read: 2 rows programmed/);
    for (const name of others) {
      const rest = others.filter((other) => other !== name);
      const message = new RegExp(`^heddle: not permitted: the process lacks CAP_${name};`);
      await agent(rest).says(message);
    }
  });
});
