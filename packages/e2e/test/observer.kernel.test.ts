import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { DropReason, type Flow, Verdict } from '@heddle/hubble/messages';
import { makeCertificates, writeTlsFiles } from '@heddle/hubble/testing/certificates';
import { flowsAt } from '@heddle/hubble/testing/client';
import { askUdp, connectTcp, type LabHost, startBackend } from '@heddle/lab';
import { decodeUtf8 } from '@heddle/sys';
import { ManifestLab } from '../testing/manifest-lab.ts';
import { endpoint, pod, service, slice } from '../testing/objects.ts';

const program = fileURLToPath(import.meta.resolve('@heddle/cli/main'));
/** The NodePorts of a service with a pod, and of one without. */
const nodePort = 30_090;
const emptyPort = 30_091;
/** The real command of Hubble, if the environment names it. */
const hubble = process.env.HEDDLE_TEST_HUBBLE;

/** Returns a pod of a StatefulSet with a label. */
function podOf(app: string, name: string, node: string, addresses: readonly string[]) {
  const made = pod(name, node, addresses, []);
  const ownerReferences = [{ kind: 'StatefulSet', name: app, controller: true }];
  return { ...made, metadata: { ...made.metadata, labels: { app }, ownerReferences } };
}

describe('heddle observer', () => {
  let agentLab: ManifestLab;
  let client: LabHost;
  let observer: ChildProcess;
  let socket: string;
  before(async () => {
    agentLab = new ManifestLab('observer', { nodes: 1, podsPerNode: 1, outside: 1 });
    client = agentLab.lab.outside[0]!;
    await startBackend(agentLab.pod(0), { echo: [8080] });
    await agentLab.start('--visibility');
    const { v4 } = agentLab.pod(0).addresses;
    await agentLab.apply(
      'web.yaml',
      service('web', ['10.96.0.9'], {
        type: 'NodePort',
        ports: [{ name: 'tcp', port: 80, nodePort }],
      }),
      slice('web', [endpoint(v4)], { ports: [{ name: 'tcp', port: 8080 }] }),
      podOf('web', 'web-0', agentLab.node.name, [v4]),
      // Pods of another node, which no policy needs.
      podOf('shop', 'shop-0', 'elsewhere', [client.addresses.v4, client.addresses.v6]),
      service('empty', ['10.96.0.10'], {
        type: 'NodePort',
        ports: [{ name: 'udp', port: 80, protocol: 'UDP', nodePort: emptyPort }],
      }),
    );
    socket = `${agentLab.socket}.hubble`;
    observer = await launch();
  });
  after(async () => {
    await end(observer);
    agentLab?.[Symbol.dispose]();
  });

  const flows = (request: Parameters<typeof flowsAt>[1]) => flowsAt(socket, request);
  const run = (...args: string[]) =>
    agentLab.node.spawn(
      process.execPath,
      [
        ...[program, 'observer', '--socket', agentLab.socket, '--bpffs', agentLab.node.bpffs],
        ...args,
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
  const launch = async () => {
    let output = '';
    const started = run('--listen', `unix://${socket}`, '--metrics', 'flow', '--metrics', 'tcp');
    started.stderr!.on('data', (data) => {
      output += data;
      agentLab.log += data;
    });
    await agentLab.until('the observer to listen', () =>
      output.includes('heddle observer: serves'),
    );
    return started;
  };
  const end = async (process: ChildProcess | undefined) => {
    if (!process || process.exitCode !== null || process.signalCode !== null) return process;
    const exited = once(process, 'exit');
    process.kill('SIGTERM');
    await exited;
    return process;
  };
  /** Sends a line to the service and returns the client's port. */
  const exchange = (): number => {
    using connection = connectTcp(client, { address: agentLab.node.addresses.v4, port: nodePort });
    connection.send('hello');
    assert.equal(decodeUtf8(connection.receive()), 'hello');
    return connection.localAddress.port;
  };

  test('a connection from outside the cluster is a flow with the names of the pod and the service', async () => {
    const port = exchange();
    const seen = await agentLab.until('the flows of the connection', async () => {
      const found = await flows({
        whitelist: [{ sourcePort: [`${port}`] }, { destinationPort: [`${port}`] }],
      });
      return found.some(({ isReply }) => isReply) ? found : undefined;
    });
    const request = seen.find(({ isReply }) => isReply === false)!;
    assert.deepEqual(namesOf(request), named);
    assert.equal(request.IP?.destination, agentLab.pod(0).addresses.v4);
    assert.equal(request.destinationService?.name, 'web');
    assert.equal(request.heddle?.frontendPort, nodePort);
    assert.equal(request.nodeName, agentLab.node.name);
    const reply = seen.find(({ isReply }) => isReply)!;
    assert.equal(reply.sourceService?.name, 'web');
  });

  const namesOf = ({ source, destination }: Flow) =>
    [source, destination].map((end) => [
      ...[end?.podName, end?.labels.join(), end?.workloads[0]?.kind, end?.workloads[0]?.name],
    ]);
  const named = ['shop', 'web'].map((app) => [
    ...[`${app}-0`, `k8s:app=${app},k8s:io.kubernetes.pod.namespace=default`],
    ...['StatefulSet', app],
  ]);

  /** Sends packets that are dropped, until one of them is a flow, and returns it. */
  const nextDrop = () => {
    const address = agentLab.node.addresses.v4;
    const now = Date.now();
    const since = { seconds: BigInt(Math.floor(now / 1000)), nanos: (now % 1000) * 1e6 };
    return agentLab.until('a drop', async () => {
      assert.throws(() => askUdp(client, { address, port: emptyPort }, 'who?', 300));
      return (await flows({ since, whitelist: [{ verdict: [Verdict.DROPPED] }] })).at(-1);
    });
  };

  test('a packet that is dropped is a flow with its reason', async () => {
    const drop = await nextDrop();
    assert.equal(drop.dropReasonDesc, DropReason.SERVICE_BACKEND_NOT_FOUND);
    assert.equal(drop.IP?.source, client.addresses.v4);
    assert.equal(drop.destinationService?.name, 'empty');
  });

  test('flows go on after the agent has died, and after it has returned', async () => {
    await agentLab.kill();
    const port = exchange();
    const known = (wanted: number) => async () =>
      (await flows({ whitelist: [{ sourcePort: [`${wanted}`] }] })).at(-1);
    const flow = await agentLab.until('the flow without an agent', known(port));
    assert.deepEqual(namesOf(flow), named);
    await agentLab.start('--visibility');
    const next = await agentLab.until('the flow with the next agent', known(exchange()));
    assert.deepEqual(namesOf(next), named);
    assert.equal((await nextDrop()).dropReasonDesc, DropReason.SERVICE_BACKEND_NOT_FOUND);
  });

  /** Starts another observer at the same socket, and sees it serve the flow of a new connection. */
  const relaunch = async () => {
    observer = await launch();
    const port = exchange();
    const wanted = { whitelist: [{ sourcePort: [`${port}`] }] };
    const flow = await agentLab.until('a flow', async () => (await flows(wanted)).at(-1));
    assert.deepEqual(namesOf(flow), named);
  };

  test('a signal ends it, and a second one serves the same socket', async () => {
    const ended = await end(observer);
    assert.equal(ended?.exitCode, 0, agentLab.log);
    await relaunch();
  });

  test('after it was killed, a second one replaces the socket that it has left', async () => {
    const exited = once(observer, 'exit');
    observer.kill('SIGKILL');
    await exited;
    assert.ok(existsSync(socket));
    await relaunch();
  });

  test('an address that is in use, and files of TLS that cannot be used, end it with an error that names them', async () => {
    const failed = async (...args: string[]) => {
      const started = run(...args);
      const [[code], stderr] = await Promise.all([once(started, 'exit'), text(started.stderr!)]);
      assert.equal(code, 1, stderr);
      return stderr;
    };
    assert.match(
      await failed('--listen', `unix://${socket}`),
      new RegExp(`^heddle: listen on unix://${socket}: .*EADDRINUSE.* choose another address`),
    );
    const files = writeTlsFiles(dirname(socket), makeCertificates());
    writeFileSync(files.key, makeCertificates().server.key);
    const stderr = await failed(
      ...['--listen', '127.0.0.1:0', '--tls-cert', files.certificate, '--tls-key', files.key],
    );
    assert.match(
      stderr,
      /^heddle: use TLS key .*tls\.key: it is not the key of the certificate .*tls\.crt/,
    );
    // The first observer still serves.
    assert.ok((await flows({ number: 1n })).length > 0);
  });

  test('the command hubble shows the flows', { skip: hubble === undefined }, async () => {
    const port = exchange();
    const ask = (...args: string[]) =>
      execFileSync(hubble!, ['--server', `unix://${socket}`, ...args], { encoding: 'utf8' });
    await agentLab.until('the flow', async () =>
      ask('observe', '--all', '--to-service', 'default/web', '--from-port', `${port}`).includes(
        'default/web-0:8080',
      ),
    );
    assert.match(ask('status'), /Healthcheck \(via .*\): Ok/);
    assert.match(ask('list', 'nodes'), new RegExp(`${agentLab.node.name} +Connected`));
    assert.match(ask('list', 'namespaces'), /default/);
  });
});
