// Tests the real command as a child process, where it needs no agent in the kernel.
import assert from 'node:assert/strict';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type AgentStatus, ControlServer, type ServiceEntry } from '@heddle/agent';
import { nodePlatform } from '@heddle/sys/node';
import type { Command } from 'commander';
import { heddle, root } from '../testing/heddle.ts';
import { createProgram } from './program.ts';

const nobody = 65534;
let folder: string;

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'heddle-cli-'));
});
after(() => rmSync(folder, { recursive: true }));

describe('help', () => {
  const walk = (command: Command, path: string[]): [string[], Command][] => [
    [path, command],
    ...command.commands.flatMap((each) => walk(each, [...path, each.name()])),
  ];
  const commands = walk(createProgram(), []);

  it('help has a description and an example for every command, which the command line takes', () => {
    for (const [path, command] of commands) {
      const name = path.join(' ');
      assert.ok(command.description().length > 10, `heddle ${name} has no description`);
      let help = '';
      command.configureOutput({
        writeOut: (text) => {
          help += text;
        },
      });
      command.outputHelp();
      const examples = [...help.matchAll(/^ {2}\$ heddle (.*)$/gm)].map((match) => match[1]!);
      const sourced = /source <\(heddle|heddle completion/.test(help);
      assert.ok(examples.length > 0 || sourced, `heddle ${name} has no example`);
      for (const example of examples) {
        const words = example.split(/ [>|] | -- /)[0]!.split(' ');
        assert.ok(
          commands.some(([other]) => other.join(' ') === words.slice(0, other.length).join(' ')),
          example,
        );
      }
    }
    assert.ok(commands.length > 15);
  });

  it('help is printed by heddle, heddle --help and heddle help, with the exit codes', async () => {
    for (const args of [[], ['--help'], ['help']]) {
      const { code, stdout, stderr } = await heddle(args);
      assert.equal(code, 0, args.join(' '));
      assert.match(stdout + stderr, /Exit codes: 0 done, 1 failed/);
    }
  });
});

describe('wrong usage', () => {
  for (const [args, message] of [
    [['servce'], /unknown command 'servce'\n\(Did you mean service\?\)/],
    [['service'], /Usage: heddle service/],
    [['status', '--jsn'], /unknown option '--jsn'/],
    [['status', '-o', 'yaml'], /Allowed choices are table, json/],
    [['agent', '--max-slots', 'many'], /'many' is invalid\. It must be a whole number/],
    [['validate'], /missing required argument 'dir'/],
    [['completion', 'tcsh'], /tcsh: that shell is not known \(use bash, zsh, fish\)/],
    [['lab', 'up', '--nodes', '-1'], /It must be a whole number/],
  ] as const) {
    it(`wrong usage ends with 2: heddle ${args.join(' ')}`, async () => {
      const { code, stdout, stderr } = await heddle(args);
      assert.equal(code, 2);
      assert.equal(stdout, '');
      assert.match(stderr, message);
      assert.doesNotMatch(stderr, /^ {4}at /m);
    });
  }
});

describe('heddle agent that cannot start', () => {
  it('an agent that cannot start names every invalid field of the configuration', async () => {
    const config = join(folder, 'agent.yaml');
    writeFileSync(config, 'logLevel: loud\nsizes: { slots: 0 }\nhealthAddress: here\n');
    const { code, stderr } = await heddle(['agent', '--config', config]);
    assert.equal(code, 1);
    assert.deepEqual(stderr.trim().split('\n'), [
      `heddle: read config ${config}: healthAddress is "here"; write an IP address and a port (127.0.0.1:10249, [::1]:10249), :PORT for all addresses, or off`,
      `heddle: read config ${config}: logLevel is "loud"; write debug, info, warn or error`,
      `heddle: read config ${config}: sizes.slots is 0; write a whole number from 1 to 4294967295`,
    ]);
  });

  it('an agent that cannot start reports a missing configuration file', async () => {
    const { code, stderr } = await heddle(['agent', '--config', '/none.yaml']);
    assert.equal(code, 1);
    assert.match(stderr, /^heddle: ENOENT: .*'\/none\.yaml'\n$/);
  });

  it('lists the ways to configure a cluster if it finds none', async (t) => {
    if (process.getuid!() !== 0) return t.skip('needs root');
    const env = { HOME: folder, KUBECONFIG: '', KUBERNETES_SERVICE_HOST: '' };
    const { code, stderr } = await heddle(['agent'], { env });
    assert.equal(code, 1);
    assert.match(stderr, /^heddle: find source: .*--manifests DIR or --kubeconfig FILE .*\n$/);
    const named = await heddle(['agent', '--kubeconfig', join(folder, 'none')], { env });
    assert.equal(named.code, 1);
    assert.match(named.stderr, /^heddle: read kubeconfig: .*none: no such file .*\n$/);
    const bad = await heddle(['agent', '--kubeconfig', '/dev/null', '--context', 'c'], { env });
    assert.equal(bad.code, 1);
    assert.match(bad.stderr, /^heddle: read kubeconfig \/dev\/null: .*\n$/);
  });

  it('an agent that cannot start reports missing privileges in one sentence with exit code 3', async (t) => {
    if (process.getuid!() !== 0) return t.skip('root becomes nobody here');
    const { code, stderr, stdout } = await heddle(['agent', '--manifests', 'examples/hello'], {
      uid: nobody,
      gid: nobody,
    });
    assert.equal(code, 3);
    assert.equal(stdout, '');
    assert.equal(
      stderr,
      'heddle: not permitted: the process lacks CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN; run it as root (e.g. with sudo) or give it those capabilities\n',
    );
  });
});

describe('commands that ask the agent', () => {
  it('accept --from-dump, except those that change or follow something', () => {
    const options = ({ options }: Command) => options.map(({ long }) => long);
    const all = (command: Command): Command[] => [command, ...command.commands.flatMap(all)];
    const asking = all(createProgram()).filter((command) => options(command).includes('--socket'));
    const named = (command: Command): string =>
      command.parent?.parent ? `${named(command.parent)} ${command.name()}` : command.name();
    const without = asking.filter((command) => !options(command).includes('--from-dump'));
    assert.deepEqual(without.map(named), [
      'agent',
      'tune',
      'cni check',
      'cni gc',
      'policy verdicts',
      'flow flush',
      'drop watch',
      'observer',
      'dump',
      'cleanup',
    ]);
    assert.ok(asking.length > 12);
  });

  const asking = [
    ['status'],
    ['service', 'list'],
    ['service', 'get', 'x'],
    ['backend', 'list'],
    ['pod', 'list'],
    ['pod', 'get', 'x'],
    ['config'],
    ['events'],
    ['observer'],
  ];
  for (const args of asking) {
    it(`end with 4 when there is none: heddle ${args.join(' ')}`, async () => {
      const { code, stderr } = await heddle([...args, '--socket', join(folder, 'none.sock')]);
      assert.equal(code, 4);
      assert.match(stderr, /^heddle: reach agent: none listens on .*none\.sock \(start one with/);
      assert.equal(stderr.trim().split('\n').length, 1);
    });
  }

  it('end with 3 if they may not open the socket', async (t) => {
    if (process.getuid!() !== 0) return t.skip('root becomes nobody here');
    const closed = join(folder, 'closed');
    mkdirSync(closed, { mode: 0o700 });
    chmodSync(folder, 0o755);
    const { code, stderr } = await heddle(['status', '--socket', join(closed, 'agent.sock')], {
      uid: nobody,
      gid: nobody,
    });
    assert.equal(code, 3);
    assert.match(stderr, /not permitted to open .*agent\.sock \(run it as root/);
  });

  it('end with 4 if another server answers on the socket', async () => {
    const path = join(folder, 'other.sock');
    const server = createServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
    await new Promise<void>((resolve) => server.listen(path, resolve));
    try {
      const { code, stderr } = await heddle(['status', '--socket', path]);
      assert.equal(code, 4);
      assert.match(stderr, /^heddle: understand agent on .*not a JSON object\n$/);
    } finally {
      server.close();
    }
  });

  describe('with an agent that answers', () => {
    // Long enough ago for the age to stay the same during the test.
    const since = new Date(Date.now() - 30.1 * 86_400_000).toISOString();
    const hello: ServiceEntry = {
      key: 'default/hello:http/TCP/IPv4',
      namespace: 'default',
      name: 'hello',
      port: 'http',
      protocol: 'TCP',
      family: 'IPv4',
      frontends: [
        { kind: 'ClusterIP', address: '10.96.0.10', port: 80 },
        { kind: 'NodePort', address: '192.0.2.1', port: 30080 },
      ],
      backends: { active: 2, draining: 1 },
      algorithm: 'random',
      forwarding: 'snat',
      affinitySeconds: 0,
      problems: [],
      status: 'done',
      since,
    };
    const failed: ServiceEntry = {
      ...hello,
      key: 'default/web:80/TCP/IPv6',
      name: 'web',
      port: '80',
      family: 'IPv6',
      frontends: [{ kind: 'ClusterIP', address: 'fd00::1', port: 80 }],
      backends: { active: 0, draining: 0 },
      status: 'failed',
      reason: 'write map slots: full at 4 entries',
    };
    const endpoint = { service: hello.key, port: 8080, state: 'active', weight: 1, connections: 7 };
    const status: AgentStatus = {
      version: '0.1.0',
      node: 'node1',
      pid: 4711,
      started: since,
      residentBytes: 50 * 1024 * 1024,
      addresses: ['192.0.2.1'],
      source: {
        kind: 'folder',
        path: 'examples/hello',
        phase: 'following',
        since,
        complete: true,
        problems: [{ file: 'a.yaml', line: 3, message: 'not valid YAML' }],
      },
      servers: [],
      healthChecks: { listening: 2, failed: 1 },
      synced: true,
      rows: { done: 1, pending: 0, failed: 1 },
      integrity: {
        broken: [],
        incidents: { hook: 2, pin: 0, map: 1 },
        repairs: 3,
        failedRepairs: 0,
      },
      datapath: {
        abi: 1,
        maps: [{ name: 'services', entries: 3, maxEntries: 4 }],
        links: [
          { hook: 'connect4', attached: true },
          { hook: 'bind6', attached: false },
          { hook: 'node_ingress@eth0', attached: true },
        ],
        missing: [{ feature: 'link/tcx', since: '6.6', instead: 'clsact serves' }],
        adopted: true,
        repaired: 1,
        migrated: [],
        socketsDestroyed: 0,
        xdp: [
          { device: 'eth0', mode: 'native', isOptional: false },
          { device: 'eth1', mode: 'off', isOptional: false, problem: 'its driver has none' },
        ],
        nat: {
          ...{ flows: 1, maxFlows: 10, unanswered: 0, unansweredLimit: 2 },
          ...{ ports: 1000, portPressure: 0.9, fullest: [], evicted: [], notBelieved: [] },
          unobserved: 0,
        },
        traffic: { connections: 0, packets: 0, bytes: 0 },
        tracked: true,
      },
      refusals: [
        { reason: 'no endpoints', count: 5 },
        { reason: 'the service does not have this port', count: 0 },
      ],
      drops: [
        { reason: 'no endpoints', count: 2 },
        { reason: 'a fragment of an IP packet', count: 0 },
      ],
      warnings: ['map slots is full to 80%: raise sizes.slots'],
    };
    const flow = {
      ...{ number: 7, protocol: 'TCP', state: 'established', idleSeconds: 3 },
      ...{ client: 'fd00::9', clientPort: 4000, frontend: 'fd00::1', frontendPort: 30080 },
      ...{ backend: 'fd00:10::2', backendPort: 8080, source: 'fd00::1', sourcePort: 2000 },
      service: 'default/hello',
    };
    const itself = { ...flow, source: flow.client, sourcePort: 4000, service: undefined };
    const destination = {
      ...{ protocol: 'UDP', backend: '10.244.1.1', backendPort: 53 },
      ...{ source: '192.0.2.1', used: 900, ports: 1000 },
    };
    const answers: Record<string, unknown> = {
      status,
      'service.get': {
        items: [
          {
            ...{ ...hello, endpoints: [{ ...endpoint, address: '10.244.1.1' }] },
            refusals: [
              { reason: 'no endpoints', count: 5 },
              { reason: 'the packet belongs to no known connection', count: 1 },
            ],
            healthCheck: { port: 31000, localEndpoints: 2, listening: true },
          },
          {
            ...{ ...failed, endpoints: [], refusals: [] },
            healthCheck: {
              port: 31001,
              localEndpoints: 1,
              listening: false,
              problem: 'it is taken',
            },
          },
        ],
      },
      'backend.list': { items: [{ ...endpoint, address: '10.244.1.1' }] },
      'nat.list': { items: [destination] },
      'policy.list': { items: [] },
      'policy.rules': { items: [] },
      'config.get': { node: 'node1', sizes: { slots: 4 } },
      'events.list': {
        items: [{ number: 1, time: since, kind: 'agent', message: 'agent started' }],
      },
    };
    let path: string;
    let server: ControlServer;

    before(() => {
      path = join(folder, 'agent.sock');
      server = new ControlServer(nodePlatform(), path, ({ method, params }) => {
        if (method === 'flow.list') return { items: params.client ? [] : [flow, itself] };
        if (method !== 'service.list' || answers[method]) return answers[method];
        // The list has two pages.
        return params.after === undefined
          ? { items: [hello], next: hello.key }
          : { items: [failed] };
      });
    });
    after(() => server[Symbol.dispose]());

    const table = async (...args: string[]) => {
      const { code, stdout, stderr } = await heddle([...args, '--socket', path]);
      assert.deepEqual([code, stderr], [0, '']);
      return stdout;
    };
    const json = async (...args: string[]) => JSON.parse(await table(...args, '-o', 'json'));

    it('list services, with the reason of a failed one', async () => {
      assert.equal(
        await table('service', 'list'),
        `SERVICE        PORT      FAMILY  ADDRESS           BACKENDS         AGE  STATUS
default/hello  http/TCP  IPv4    10.96.0.10:80 +1  2 (+1 draining)  30d  done
default/web    80/TCP    IPv6    [fd00::1]:80      0                30d  failed: write map slots: full at 4 entries
`,
      );
      assert.deepEqual(await json('service', 'list'), {
        services: [hello, failed],
        synced: true,
      });
    });

    it('show one service', async () => {
      assert.equal(
        await table('service', 'get', 'hello'),
        `service       default/hello:http/TCP/IPv4
status        done
since         ${since} (30d)
ClusterIP     10.96.0.10:80
NodePort      192.0.2.1:30080
choice        random
health check  port 31000: 2 local endpoints
refusals      5 (no endpoints), 1 (the packet belongs to no known connection)

BACKEND          STATE   WEIGHT  CONNECTIONS  OPEN  PACKETS  BYTES
10.244.1.1:8080  active  1       7            -     -        -

service       default/web:80/TCP/IPv6
status        failed: write map slots: full at 4 entries
since         ${since} (30d)
ClusterIP     [fd00::1]:80
choice        random
health check  port 31001: it is taken

no backends
`,
      );
      assert.equal((await json('service', 'get', 'hello')).services[0].endpoints.length, 1);
    });

    it('list backends', async () => {
      assert.match(
        await table('backend', 'list'),
        /^SERVICE .*\ndefault\/hello:http\/TCP\/IPv4 {2}10\.244\.1\.1:8080 {2}active {2}1 {7}7 /,
      );
      assert.equal((await json('backend', 'list')).backends[0].connections, 7);
    });

    it('show the status', async () => {
      assert.equal(
        await table('status'),
        `agent      0.1.0, process 4711, up 30d, 50.0 MiB
node       node1 (192.0.2.1)
manifests  examples/hello: read, 1 problem
services   1 programmed, 0 pending, 1 failed
hooks      not attached: bind6
start      adopted the maps of an earlier agent, 1 entry repaired, layout 1
changed    other programs changed the kernel's state (hooks 2, maps 1); 3 repairs
xdp        native at eth0
xdp        off at eth1: its driver has none
kernel     without link/tcx (Linux 6.6 has it): clsact serves
netfilter  tracks connections: external packets to pods of this node pass its FORWARD rules
checks     2 health check ports served, 1 not (heddle service get shows why)
refused    5 no endpoints
dropped    2 (no endpoints)
warning    map slots is full to 80%: raise sizes.slots

MAP       ENTRIES  SIZE  USED
services  3        4     75%

a.yaml:3: not valid YAML
`,
      );
      assert.deepEqual(await json('status'), status);
    });

    it('list flows and the use of SNAT ports', async () => {
      assert.equal(
        await table('flow', 'list'),
        `PROTOCOL  CLIENT          FRONTEND         BACKEND            SEEN AS         IDLE  STATE        SERVICE
TCP       [fd00::9]:4000  [fd00::1]:30080  [fd00:10::2]:8080  [fd00::1]:2000  3s    established  default/hello
TCP       [fd00::9]:4000  [fd00::1]:30080  [fd00:10::2]:8080  itself          3s    established  -
`,
      );
      assert.equal(await table('flow', 'list', '--client', 'fd00::8'), 'no flows\n');
      assert.deepEqual((await json('flow', 'list')).flows[0], flow);
      assert.equal(
        await table('nat', 'list'),
        `PROTOCOL  BACKEND        SEEN AS    PORTS  OF    USED
UDP       10.244.1.1:53  192.0.2.1  900    1000  90%
`,
      );
      assert.deepEqual(await json('nat', 'list'), { destinations: [destination] });
    });

    it('do not report services as complete while the objects are being read', async () => {
      const unknown = 'unknown yet, the objects are being read; the kernel serves 3 frontends';
      answers.status = { ...status, synced: false, rows: { done: 0, pending: 0, failed: 0 } };
      const backends = answers['backend.list'];
      answers['service.list'] = { items: [] };
      answers['backend.list'] = { items: [] };
      try {
        assert.match(await table('status'), new RegExp(`^services +${unknown}$`, 'm'));
        assert.equal(await table('service', 'list'), `${unknown}\n`);
        assert.equal(await table('backend', 'list'), `${unknown}\n`);
        assert.deepEqual(await json('service', 'list'), { services: [], synced: false });
        assert.deepEqual(await json('backend', 'list'), { backends: [], synced: false });
        answers.status = status;
        assert.equal(await table('service', 'list'), 'no services\n');
        assert.deepEqual(await json('service', 'list'), { services: [], synced: true });
      } finally {
        answers.status = status;
        delete answers['service.list'];
        answers['backend.list'] = backends;
      }
    });

    it('show a cluster, and since when and why it is unreachable', async () => {
      const cluster = {
        kind: 'cluster',
        path: 'https://192.0.2.1:6443',
        phase: 'following',
        since,
        lastEvent: since,
        complete: true,
        problems: [{ file: '', line: 0, message: 'Service default/web: it is odd' }],
      };
      const servers = [
        { name: 'health', address: ':10256', listening: false, problem: 'the port is taken' },
        { name: 'metrics', address: ':10249', listening: true },
      ];
      answers.status = { ...status, source: cluster, servers };
      const connected = await table('status');
      assert.match(
        connected,
        /^cluster +https:\/\/192\.0\.2\.1:6443: read, last event 30d ago, 1 problem$/m,
      );
      assert.match(connected, /^health +the port is taken$/m);
      assert.match(connected, /^metrics +served on :10249$/m);
      assert.match(connected, /\n\nService default\/web: it is odd\n$/);
      const gone = { phase: 'disconnected', reason: 'connection refused', problems: [] };
      answers.status = { ...status, source: { ...cluster, ...gone } };
      assert.match(
        await table('status'),
        /^cluster +disconnected from https:\/\/192\.0\.2\.1:6443 for 30d: connection refused; services stay programmed$/m,
      );
      const soon = { complete: false, retryAt: new Date(Date.now() + 1e6).toISOString() };
      answers.status = { ...status, source: { ...cluster, ...gone, ...soon } };
      assert.match(await table('status'), /: connection refused \(next try in (1000|\d{3})s\)$/m);
      answers.status = status;
    });

    it('show the configuration and the events', async () => {
      assert.equal(await table('config'), 'node         node1\nsizes.slots  4\n');
      assert.deepEqual(await json('config'), answers['config.get']);
      assert.equal(await table('events', '--no-follow'), `${since}  agent started\n`);
    });

    it('refuse to clean up while the agent runs', async () => {
      const args = ['cleanup', '--socket', path, '--bpffs', join(folder, 'none')];
      const { code, stderr } = await heddle(args);
      assert.equal(code, 5);
      assert.match(stderr, /^heddle: clean up: an agent runs \(it responds at .*\); stop it first/);
    });
  });
});

describe('heddle config --fields', () => {
  it('explains every field without an agent', async () => {
    const { stdout } = await heddle(['config', '--fields']);
    assert.match(stdout, /^FIELD +DEFAULT +MEANING\nmanifests +- +Folder of manifests/);
    assert.match(stdout, /^sizes\.affinity +\d+ +Clients that session affinity remembers/m);
  });
});

describe('heddle cleanup', () => {
  it('heddle cleanup removes no file that is at the path of the control socket', async () => {
    const socket = join(folder, 'precious');
    writeFileSync(socket, 'precious');
    const args = ['cleanup', '--socket', socket, '--bpffs', folder];
    for (const each of [args, [...args, '--force']]) {
      const { code, stdout, stderr } = await heddle(each);
      assert.deepEqual([code, stdout], [1, '']);
      assert.match(stderr, /precious is a file and not a socket, so it is not removed/);
    }
    assert.equal(readFileSync(socket, 'utf8'), 'precious');
  });

  it('heddle cleanup removes the CNI plug-in and its configuration', async () => {
    const [plugin, configuration] = ['heddle-cni', '05-heddle.conflist'].map((file) =>
      join(folder, file),
    );
    const others = ['10-bridge.conflist', 'loopback'].map((file) => join(folder, file));
    for (const path of [plugin!, configuration!, ...others]) writeFileSync(path, path);
    const places = ['--socket', join(folder, 'no.sock'), '--bpffs', join(folder, 'none')];
    const args = ['cleanup', ...places, '--cni-bin-dir', folder, '--cni-config-dir', folder];
    const { stdout } = await heddle(args);
    assert.equal(stdout, `removed ${configuration}\nremoved ${plugin}\n`);
    assert.ok(others.every((path) => existsSync(path)));
    assert.equal((await heddle(args)).stdout, 'nothing to remove\n');
  });
});

describe('heddle validate', () => {
  it('heddle validate accepts the example, also without root', async () => {
    const { code, stdout } = await heddle(['validate', 'examples/hello']);
    assert.equal(code, 0);
    assert.equal(
      stdout,
      'valid: 1 Service, 2 EndpointSlices, 1 Node in 3 files of examples/hello\n',
    );
  });

  it('heddle validate names file, line, object and field of an error', async () => {
    const bad = join(folder, 'bad');
    cpSync(join(root, 'examples/hello'), bad, { recursive: true });
    writeFileSync(
      join(bad, 'bad.yaml'),
      `apiVersion: v1
kind: ConfigMap
metadata: { name: other }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec: { clusterIP: 10.96.0.300, clusterIPs: [10.96.0.300], ports: [{ port: 80 }] }
---
kind: [
`,
    );
    const { code, stdout } = await heddle(['validate', bad]);
    assert.equal(code, 1);
    assert.match(stdout, /^note {5}bad\.yaml:1: ConfigMap other/m);
    assert.match(stdout, /^problem {2}bad\.yaml:\d+: Service shop\/web: .*10\.96\.0\.300/m);
    assert.match(stdout, /^problem {2}bad\.yaml:1\d: not valid YAML/m);
    assert.match(stdout, /^not valid \(2 problems\): 1 Service, /m);
    const report = JSON.parse((await heddle(['validate', bad, '-o', 'json'])).stdout);
    assert.deepEqual(
      [report.valid, report.problems.length, report.notes.length, report.objects.service],
      [false, 2, 1, 1],
    );
  });

  it('escapes control sequences of a manifest', async () => {
    const hostile = join(folder, 'hostile');
    mkdirSync(hostile);
    const name = 'web\u001b]0;title\u0007\u009b2J';
    const metadata = { name, namespace: 'default' };
    writeFileSync(
      join(hostile, 'web.json'),
      JSON.stringify({ apiVersion: 'v1', kind: 'Service', metadata, spec: { clusterIP: 'x' } }),
    );
    const { stdout } = await heddle(['validate', hostile]);
    assert.match(stdout, /web\\u001b\]0;title\\u0007\\u009b2J/);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what must not be there.
    assert.doesNotMatch(stdout, /[\x00-\x09\x0b-\x1f\x7f-\x9f]/);
    const report = JSON.parse((await heddle(['validate', hostile, '-o', 'json'])).stdout);
    assert.ok(report.problems[0].message.includes(name), 'JSON says what it is');
  });

  it('heddle validate reports a folder without manifests', async () => {
    const empty = join(folder, 'empty');
    mkdirSync(empty);
    for (const [dir, message] of [
      [empty, /holds no manifest \(files that end in/],
      [join(folder, 'nowhere'), /there is no such folder/],
      [join(root, 'package.json'), /it is no folder/],
    ] as const) {
      const { code, stderr } = await heddle(['validate', dir]);
      assert.equal(code, 1);
      assert.match(stderr, message);
    }
  });
});

describe('heddle version', () => {
  it('heddle version prints the same version as text and as JSON', async () => {
    const { stdout } = await heddle(['version']);
    const { version, node } = JSON.parse((await heddle(['version', '-o', 'json'])).stdout);
    assert.equal(stdout, `heddle ${version} (Node.js ${node})\n`);
  });
});

describe('internal errors', () => {
  it('show their stack and their causes only with HEDDLE_DEBUG=1', async () => {
    const env = { NODE_OPTIONS: `--import ${join(folder, 'break.mjs')}` };
    writeFileSync(
      join(folder, 'break.mjs'),
      'Object.defineProperty(process.versions, "node", { get() { throw new Error("broke", { cause: new Error("inner") }); } });',
    );
    const quiet = await heddle(['version'], { env });
    assert.equal(quiet.code, 70);
    assert.equal(
      quiet.stderr,
      'heddle: internal error: broke (please report it; HEDDLE_DEBUG=1 shows the stack)\n',
    );
    const loud = await heddle(['version'], { env: { ...env, HEDDLE_DEBUG: '1' } });
    assert.match(loud.stderr, /^ {4}at /m);
    assert.match(loud.stderr, /\[cause\]: Error: inner$/m);
  });
});
