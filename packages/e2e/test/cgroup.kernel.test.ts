import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { currentPins } from '@heddle/datapath';
import { BpfLink, LinuxBpf } from '@heddle/ebpf';
import { askTcp, cgroupRoot, startBackend } from '@heddle/lab';
import { ManifestLab } from '../testing/manifest-lab.ts';
import { service, slice } from '../testing/objects.ts';

const main = fileURLToPath(import.meta.resolve('@heddle/cli/main'));
const clusterIP = '10.96.0.10';

describe('the cgroup that an agent serves', () => {
  let agentLab: ManifestLab;
  const children: ChildProcess[] = [];
  before(async () => {
    agentLab = new ManifestLab('cgroup', { podsPerNode: 2 });
    await startBackend(agentLab.pod(1), { tcp: [8080] });
    agentLab.write(
      'web.yaml',
      service('web', [clusterIP]),
      slice('web', [agentLab.pod(1).addresses.v4]),
    );
    await agentLab.start();
  });
  after(() => {
    for (const child of children) child.kill('SIGKILL');
    agentLab?.[Symbol.dispose]();
  });

  const answer = () => askTcp(agentLab.pod(0), { address: clusterIP, port: 80 }, 'x').split(' ')[0];

  /** Returns the cgroup that the node's programs are attached to. */
  function attachedTo(): bigint {
    const pin = `${currentPins(agentLab.node.bpffs).links}/connect4`;
    using link = BpfLink.openPinned(new LinuxBpf(agentLab.platform), pin);
    const { info } = link;
    assert.ok(info.kind === 'cgroup');
    return info.cgroupId;
  }

  /**
   * Starts an agent as a container runtime does: in a new cgroup namespace with its own mount of
   * cgroup v2. Returns its exit code and output.
   */
  async function inContainer(setup: string, args: readonly string[], namespaces = ['-C', '-m']) {
    const { node, socket, folder } = agentLab;
    const agent = [process.execPath, main, 'agent', '--manifests', folder, '--node', node.name];
    const own = [...agent, '--bpffs', node.bpffs, '--socket', `${socket}-other`, ...args];
    const script = `mount --make-rprivate / && ${setup} && exec "$@"`;
    const command = [...namespaces, 'sh', '-c', script, 'sh', ...own];
    const child = node.spawn('unshare', command, { stdio: ['ignore', 'ignore', 'pipe'] });
    children.push(child);
    let output = '';
    child.stderr!.on('data', (data) => {
      output += data;
    });
    const [code] = await once(child, 'close');
    return { code, output };
  }

  const mount = cgroupRoot();
  const asRoot = `umount ${mount} && mount -t cgroup2 none ${mount}`;

  test('an agent refuses to start if its container shows its own cgroup as the root', async () => {
    const served = attachedTo();
    assert.equal(answer(), 'pod-1-2');
    for (const args of [[], ['--cgroup', mount], ['--cgroup', `${mount}/`]]) {
      const { code, output } = await inContainer(asRoot, args);
      assert.equal(code, 1, output);
      assert.match(output, /cgroup with id \d+/, args.join(' '));
      assert.match(output, /--cgroupns=host/);
    }
    assert.equal(attachedTo(), served, 'the links of the agent that runs stay');
    assert.equal(answer(), 'pod-1-2');
  });

  test('links stay attached while no agent runs and one in such a container is started', async () => {
    const served = attachedTo();
    await agentLab.kill();
    const { code } = await inContainer(asRoot, []);
    assert.equal(code, 1);
    assert.equal(attachedTo(), served);
    assert.equal(answer(), 'pod-1-2');
    await agentLab.start();
  });

  test('the configured cgroup may be a directory of the hierarchy or a bind mount of it', async () => {
    // Such agents start until they find the pins in use.
    for (const { setup, path, namespaces } of [
      { setup: 'true', path: agentLab.node.cgroup },
      { setup: `mount --bind ${agentLab.node.cgroup} /mnt`, path: '/mnt', namespaces: ['-m'] },
      // The node's root is mounted beside the container's own, and the agent finds it.
      { setup: `mount --bind ${mount} /mnt && ${asRoot}` },
    ]) {
      const args = path === undefined ? [] : ['--cgroup', path];
      const { code, output } = await inContainer(setup, args, namespaces);
      assert.equal(code, 5, output);
      assert.match(output, /another agent .* works with/);
    }
    assert.equal(attachedTo(), statSync(agentLab.node.cgroup, { bigint: true }).ino);
  });

  test('a configured path that is no cgroup is named in the error', async () => {
    const { code, output } = await inContainer('true', ['--cgroup', '/tmp']);
    assert.equal(code, 1);
    assert.match(output, /use cgroup \/tmp: it is not on a cgroup2 file system \(give a directory/);
  });
});
