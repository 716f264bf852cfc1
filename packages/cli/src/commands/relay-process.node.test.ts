import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { get } from 'node:http';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { flowRecord } from '@heddle/hubble/testing/flows';
import { ObserverFolder } from '@heddle/relay/testing/observers';
import { startHeddle } from '../../testing/heddle.ts';

/** The path of the command hubble, if the test is to ask the relay with it. */
const hubble = process.env.HEDDLE_TEST_HUBBLE;

/** Returns the answer at a unix socket. */
function ask(socketPath: string, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    get({ socketPath, path }, (response) => {
      let body = '';
      response.on('data', (data) => {
        body += data;
      });
      response.on('end', () => resolve(body));
    }).on('error', reject);
  });
}

test('heddle relay serves the page and the command hubble, and ends when it is asked to', async (t) => {
  const folder = new ObserverFolder();
  t.after(() => folder.close());
  const [one, two] = [await folder.serve('n1'), await folder.serve('n2')];
  for (const { observer } of [one, two]) observer.add(flowRecord({ time: Date.now() - 1000 }));
  const socket = `unix://${folder.path('relay.sock')}`;
  const nodes = [one, two].flatMap(({ peer }) => ['--node', `${peer.name}=${peer.address}`]);
  const child = startHeddle(
    ['relay', ...nodes, '--listen', socket, '--ui-listen', `unix://${folder.path('ui.sock')}`],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  t.after(() => child.kill('SIGKILL'));
  let log = '';
  child.stderr!.on('data', (data) => {
    log += data;
  });
  while (!log.includes('serves the page')) {
    assert.equal(child.exitCode, null, log);
    await once(child.stderr!, 'data');
  }
  for (let connected = 0; connected < 2; ) {
    const { nodes: found } = JSON.parse(await ask(folder.path('ui.sock'), '/api/nodes')) as {
      nodes: { state: string }[];
    };
    connected = found.filter(({ state }) => state === 'connected').length;
  }
  if (hubble !== undefined) {
    const run = async (...args: string[]) =>
      (await promisify(execFile)(hubble, ['--server', socket, ...args])).stdout;
    assert.match(await run('status'), /Connected Nodes: 2\/2/);
    const flows = (await run('observe', '--last', '10', '-o', 'json')).trim().split('\n');
    const names = flows.map((line) => JSON.parse(line).flow?.node_name).filter(Boolean);
    assert.deepEqual(names.sort(), ['n1', 'n2']);
  }
  child.kill('SIGTERM');
  const [code] = await once(child, 'exit');
  assert.equal(code, 0, log);
});
