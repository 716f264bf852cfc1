import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ManifestLab } from '../testing/manifest-lab.ts';

const main = fileURLToPath(import.meta.resolve('@heddle/cli/main'));

describe('the limit of open files', () => {
  let agentLab: ManifestLab;
  before(() => {
    agentLab = new ManifestLab('limit', { podsPerNode: 1 });
  });
  after(() => agentLab?.[Symbol.dispose]());

  test('a limit that is too low is reported with the remedy', async () => {
    const { node, folder, socket } = agentLab;
    const agent = [main, 'agent', '--manifests', folder, '--node', node.name, '--socket', socket];
    const own = [...agent, '--cgroup', node.cgroup, '--bpffs', node.bpffs];
    const args = ['-c', 'ulimit -n 64 && exec "$@"', 'sh', process.execPath, ...own];
    const child = node.spawn('sh', args, { stdio: ['ignore', 'ignore', 'pipe'] });
    let output = '';
    child.stderr!.on('data', (data) => {
      output += data;
    });
    const [code] = await once(child, 'close');
    assert.equal(code, 1, output);
    assert.match(
      output,
      /it may open 64 files and needs 256 at least \(raise the limit: ulimit -n/,
    );
    assert.doesNotMatch(output, /verifier/);
  });

  test('the soft limit is raised to the hard limit', async () => {
    const { pid } = await agentLab.start();
    const limits = /^Max open files +(\d+) +(\d+)/m.exec(
      readFileSync(`/proc/${pid}/limits`, 'utf8'),
    );
    assert.equal(limits?.[1], limits?.[2]);
  });
});
