// The agent with the capabilities that the DaemonSet gives it, and with each one missing.
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { deploymentObjects } from '../src/deployment/objects.ts';
import { readSettings } from '../src/deployment/settings.ts';
import { service, slice } from '../testing/objects.ts';
import { Product } from '../testing/product.ts';

const program = fileURLToPath(new URL('../src/main.ts', import.meta.url));

interface PodSpec {
  readonly containers: readonly [
    { readonly securityContext: { readonly capabilities: { readonly add: readonly string[] } } },
  ];
}

const daemonSet = deploymentObjects(readSettings([], '0')).find(({ kind }) => kind === 'DaemonSet');
const { spec } = (daemonSet!.spec as unknown as { template: { spec: PodSpec } }).template;
const granted = spec.containers[0].securityContext.capabilities.add;

describe('rights of the DaemonSet', () => {
  let product: Product;
  const started: ChildProcess[] = [];
  before(() => {
    product = new Product('rights', { podsPerNode: 1 });
    product.write('web.yaml', service('web', ['10.96.21.1']), slice('web', ['10.244.99.1']));
  });
  after(() => {
    for (const agent of started) agent.kill('SIGKILL');
    product?.[Symbol.dispose]();
  });

  /** Runs the agent until it has read everything, or has ended; returns what it said. */
  const run = (capabilities: readonly string[]) =>
    new Promise<string>((resolve) => {
      const bounds = ['-all', ...capabilities.map((name) => `+${name.toLowerCase()}`)].join();
      const agent = product.node.spawn(
        'setpriv',
        [
          ...['--no-new-privs', `--bounding-set=${bounds}`, '--inh-caps=-all', process.execPath],
          ...[program, 'agent', '--manifests', product.folder, '--node', product.node.name],
          ...['--cgroup', product.node.cgroup, '--bpffs', product.node.bpffs],
          ...['--socket', product.socket],
        ],
        { stdio: ['ignore', 'ignore', 'pipe'] },
      );
      started.push(agent);
      let said = '';
      agent.stderr!.on('data', (data) => {
        said += data;
        if (said.includes('in force')) agent.kill();
      });
      agent.on('close', () => resolve(said));
    });

  test('they do', async () => {
    assert.match(await run(granted), /manifests read: 1 row in force/);
  });

  test('without SYS_ADMIN it starts as well', async () => {
    const others = granted.filter((name) => name !== 'SYS_ADMIN');
    assert.equal(others.length, 3);
    assert.match(await run(others), /manifests read: 1 row in force/);
    for (const name of others) {
      const said = await run(others.filter((other) => other !== name));
      assert.match(said, new RegExp(`^heddle: not permitted: the process lacks CAP_${name};`));
    }
  });
});
