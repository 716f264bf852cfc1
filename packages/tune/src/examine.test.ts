import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Finding } from './check.ts';
import { checks, examine } from './examine.ts';
import type { AgentFacts, DeviceFacts, Facts, Feature, Known } from './facts.ts';

const on: Feature = { active: true, changeable: true };
const off: Feature = { active: false, changeable: true };
const fixedOff: Feature = { active: false, changeable: false };

const eth0: DeviceFacts = {
  ...{ name: 'eth0', role: 'external', mtu: 1500 },
  qdisc: { value: 'fq' },
  features: { value: new Map([['rx-gro', on]]) },
  rings: { value: { rx: 4096, rxMax: 4096, tx: 512, txMax: 512 } },
  channels: { value: { combined: 4, combinedMax: 4 } },
  interrupts: { value: [] },
  fifoErrors: { value: 0 },
};

const agent: AgentFacts = {
  maps: [{ name: 'services', entries: 10, maxEntries: 100 }],
  ...{ tracked: false, descriptors: { value: 65_536 } },
  config: { snatPorts: '61000-65535', network: true },
};

const sysctls = {
  'net/ipv4/ip_forward': '1',
  'net/ipv6/conf/all/forwarding': '1',
  'net/ipv4/ip_local_port_range': '40000 60999',
  'net/ipv4/ip_local_reserved_ports': '',
  'net/ipv4/tcp_tw_reuse': '1',
  'net/ipv4/conf/all/rp_filter': '0',
  'net/ipv4/conf/eth0/rp_filter': '0',
};

function values(changed: Readonly<Record<string, string>> = {}): Facts['sysctls'] {
  const all = Object.entries({ ...sysctls, ...changed });
  return new Map(all.map(([name, value]) => [name, { value }]));
}

const modern = ['NETKIT', 'NET_SCH_FQ', 'PREEMPT_DYNAMIC', 'PREEMPT_LAZY'];

/** The facts of a node without fault. */
const sound: Facts = {
  agent: { value: agent },
  kernel: {
    value: {
      release: '6.18.1',
      config: { value: new Map(modern.map((name) => [name, 'y'])) },
      preemptModes: { value: 'none voluntary full (lazy)' },
    },
  },
  processors: { count: 4, governors: { value: new Map() }, canPerform: new Set() },
  programs: { irqbalance: { value: false }, tunedProfile: { value: undefined } },
  devices: { value: [eth0] },
  ipv6: { value: true },
  leftovers: { kubeProxy: { value: [] }, tracked: { value: 0 } },
  sysctls: values(),
};

/** Returns the findings that are not good. */
function bad(changed: Partial<Facts>): Finding[] {
  return examine({ ...sound, ...changed }).filter(({ state }) => state !== 'good');
}

/** Returns the only finding that is not good. */
function only(changed: Partial<Facts>): Finding {
  const found = bad(changed);
  assert.deepEqual(
    found.map(({ name }) => name),
    [found[0]?.name],
  );
  return found[0]!;
}

const withAgent = (changed: Partial<AgentFacts>): Partial<Facts> => ({
  agent: { value: { ...agent, ...changed } },
});
const withDevice = (changed: Partial<DeviceFacts>): Partial<Facts> => ({
  devices: { value: [{ ...eth0, ...changed }] },
});
const withKernel = (changed: object): Partial<Facts> => ({
  kernel: { value: { ...('value' in sound.kernel ? sound.kernel.value : undefined!), ...changed } },
});
const shape = ({ state, found, command, canApply }: Finding) => ({
  ...{ state, found, canApply },
  ...(command === undefined ? {} : { command }),
});

test('a node without fault has good findings only', () => {
  assert.deepEqual(bad({}), []);
});

test('each check has a name of its own and a result for a node without fault', () => {
  const names = checks.map(({ name }) => name);
  assert.equal(new Set(names).size, names.length);
  assert.deepEqual(new Set(examine(sound).map(({ name }) => name)), new Set(names));
});

test('a fact that could not be read is unknown with the reason', () => {
  const unknown: Known<never> = { unknown: 'read it: not permitted' };
  const findings = examine({
    ...{ agent: unknown, kernel: unknown, devices: unknown, ipv6: unknown },
    processors: { count: 4, governors: unknown, canPerform: new Set() },
    programs: { irqbalance: unknown, tunedProfile: unknown },
    leftovers: { kubeProxy: unknown, tracked: unknown },
    sysctls: new Map(Object.keys(sysctls).map((name) => [name, unknown])),
  });
  for (const { name, state, found, canApply } of findings) {
    assert.deepEqual([name, state, canApply], [name, 'unknown', false]);
    assert.match(found, /not permitted/, name);
  }
});

test('parts of a device that could not be read are unknown', () => {
  const unknown: Known<never> = { unknown: 'not permitted' };
  const parts = ['qdisc', 'features', 'rings', 'channels', 'interrupts'] as const;
  for (const part of parts) {
    const { state, found } = only(withDevice({ [part]: unknown }));
    assert.deepEqual([part, state, found], [part, 'unknown', 'not permitted']);
  }
});

test('a map that is 80 % full is wrong, and one that is half full can be improved', () => {
  const mapsOf = (entries: number, name = 'backends') =>
    only(withAgent({ maps: [{ name, entries, maxEntries: 1000 }] }));
  assert.deepEqual(shape(mapsOf(800)), {
    ...{ state: 'wrong', found: '800 of 1000 entries (80 %)', canApply: false },
    command: 'heddle manifests --set sizes.backends=2048 | kubectl apply -f -',
  });
  assert.equal(mapsOf(500).state, 'improve');
  assert.equal(mapsOf(1000, 'affinity').state, 'improve');
  assert.equal(mapsOf(900, 'other').command, undefined);
});

test('few descriptors of the agent can be raised', () => {
  assert.equal(only(withAgent({ descriptors: { value: 1024 } })).state, 'improve');
});

test('forwarding that is off is turned on together with what the kernel changes along', () => {
  const changed = values({
    'net/ipv4/ip_forward': '0',
    'net/ipv4/conf/all/forwarding': '0',
    'net/ipv4/conf/eth0/forwarding': '0',
    'net/ipv4/conf/all/accept_redirects': '1',
  });
  const finding = only({ sysctls: changed });
  assert.equal(finding.state, 'wrong');
  assert.deepEqual(
    finding.changes?.map(({ target, value }) => [target.kind === 'sysctl' && target.name, value]),
    [
      ['net/ipv4/ip_forward', '1'],
      ['net/ipv4/conf/all/forwarding', '1'],
      ['net/ipv4/conf/eth0/forwarding', '1'],
      ['net/ipv4/conf/all/accept_redirects', '0'],
    ],
  );
});

test('IPv6 forwarding keeps router advertisements, and is no matter without IPv6 addresses', () => {
  const changed = values({
    'net/ipv6/conf/all/forwarding': '0',
    'net/ipv6/conf/all/accept_ra': '1',
    'net/ipv6/conf/eth0/accept_ra': '1',
    'net/ipv6/conf/eth1/accept_ra': '0',
    'net/ipv6/conf/eth0/forwarding': '0',
  });
  assert.deepEqual(bad({ sysctls: changed, ipv6: { value: false } }), []);
  const { changes = [], state } = only({ sysctls: changed });
  assert.equal(state, 'improve');
  assert.deepEqual(
    changes.map(({ target, value }) => [target.kind === 'sysctl' && target.name, value]),
    [
      ['net/ipv6/conf/eth0/accept_ra', '2'],
      ['net/ipv6/conf/all/forwarding', '1'],
      ['net/ipv6/conf/eth0/forwarding', '1'],
    ],
  );
});

test('rp_filter is the higher value of all and the interface', () => {
  const all = 'net/ipv4/conf/all/rp_filter';
  const own = 'net/ipv4/conf/eth0/rp_filter';
  const pairs: Record<string, string>[] = [
    { [all]: '1', [own]: '2' },
    { [all]: '2', [own]: '1' },
  ];
  for (const loose of pairs) {
    assert.deepEqual(bad({ sysctls: values(loose) }), []);
  }
  for (const name of [all, own]) {
    const { command, state } = only({ sysctls: values({ [name]: '1' }) });
    assert.deepEqual([state, command], ['wrong', `sysctl -w ${own}=2`]);
  }
});

test('external interfaces with different MTUs are wrong', () => {
  const eth1: DeviceFacts = { ...eth0, name: 'eth1', mtu: 9000 };
  const tunnel: DeviceFacts = { ...eth0, name: 'heddle0', role: 'tunnel', mtu: 1450 };
  const rp = values({
    'net/ipv4/conf/eth1/rp_filter': '0',
    'net/ipv4/conf/heddle0/rp_filter': '0',
  });
  assert.deepEqual(shape(only({ devices: { value: [eth0, eth1, tunnel] }, sysctls: rp })), {
    ...{ state: 'wrong', found: 'eth0 1500, eth1 9000', canApply: false },
    command: 'ip link set eth0 mtu 9000',
  });
  assert.deepEqual(bad({ devices: { value: [eth0, tunnel] }, sysctls: rp }), []);
});

test('ports that sockets choose, too, are reserved beside those that are reserved already', () => {
  const changed = values({
    'net/ipv4/ip_local_port_range': '32768 65535',
    'net/ipv4/ip_local_reserved_ports': '8080,62000-65535',
  });
  const finding = only({ sysctls: changed });
  assert.equal(finding.state, 'wrong');
  assert.equal(
    finding.command,
    'sysctl -w net/ipv4/ip_local_reserved_ports=8080,62000-65535,61000-61999',
  );
  const both = only({ sysctls: values({ 'net/ipv4/ip_local_port_range': '1024 65535' }) });
  assert.match(both.command!, /=61000-65535,30000-32767$/);
});

test('the SNAT ports are unknown without an agent', () => {
  const found = bad({ agent: { unknown: 'no agent' } });
  const ports = found.find(({ name }) => name === 'local-ports');
  assert.deepEqual([ports?.state, /unknown/.test(ports?.found ?? '')], ['unknown', true]);
});

test('rules of kube-proxy are wrong, and tracked connections can be improved', () => {
  const kubeProxy = { value: ['chain KUBE-SERVICES'] };
  const rules = only({ leftovers: { kubeProxy, tracked: { value: 0 } } });
  assert.deepEqual([rules.state, rules.command], ['wrong', 'heddle cleanup --kube-proxy']);
  const tracked = { kubeProxy: { value: [] }, tracked: { value: 7 } };
  assert.equal(only({ leftovers: tracked }).found, '7 connections');
  const needed = only({ leftovers: tracked, ...withAgent({ tracked: true }) });
  assert.match(needed.found, /rules for forwarded packets/);
});

test('fq is added in place of the default discipline only, and where the kernel has it', () => {
  const plain = only(withDevice({ qdisc: { value: 'default (pfifo_fast)' } }));
  assert.deepEqual([plain.canApply, plain.command], [true, 'tc qdisc replace dev eth0 root fq']);
  const chosen = only(withDevice({ qdisc: { value: 'htb' } }));
  assert.deepEqual([chosen.canApply, chosen.command], [false, 'tc qdisc replace dev eth0 root fq']);
  const without = { ...withKernel({ config: { value: new Map([['NETKIT', 'm']]) } }) };
  const lacking = only({ ...without, ...withDevice({ qdisc: { value: 'default (mq)' } }) });
  assert.match(lacking.found, /no fq/);
  assert.equal(lacking.canApply, false);
});

test('offloads that are off are turned on, and those that the interface lacks do not count', () => {
  const features = new Map([
    ['rx-gro', off],
    ['tx-tcp-segmentation', fixedOff],
    ['tx-checksum-ip-generic', fixedOff],
    ['tx-checksum-ipv4', off],
  ]);
  const finding = only(withDevice({ features: { value: features } }));
  assert.equal(finding.found, 'off: rx-gro, tx-checksum-ipv4');
  assert.equal(finding.command, 'ethtool -K eth0 rx-gro on; ethtool -K eth0 tx-checksum-ipv4 on');
});

test('tcp_tw_reuse is 1', () => {
  const finding = only({ sysctls: values({ 'net/ipv4/tcp_tw_reuse': '2' }) });
  assert.equal(finding.command, 'sysctl -w net/ipv4/tcp_tw_reuse=1');
});

test('a kernel lacks what newer ones have', () => {
  const old = only(withKernel({ release: '6.1.0-50-amd64' }));
  assert.match(
    old.found,
    /^6\.1\.0-50-amd64 lacks BIG TCP for IPv4 .*, tcx .*, .*FIB_LOOKUP_SRC.*, netkit/,
  );
  assert.equal(old.state, 'improve');
  assert.equal(only(withKernel({ release: '5.15.0' })).state, 'wrong');
  const config = new Map([['NET_SCH_FQ', 'y']]);
  assert.match(only(withKernel({ config: { value: config } })).found, /CONFIG_NETKIT/);
});

test('full preemption is replaced by the first model that the kernel offers', () => {
  const modes = (text: string) => withKernel({ preemptModes: { value: text } });
  assert.equal(
    only(modes('none voluntary (full)')).command,
    'echo none > /sys/kernel/debug/sched/preempt',
  );
  assert.equal(only(modes('(full) lazy')).changes?.[0]?.value, 'lazy');
  assert.deepEqual(bad(modes('(none) voluntary full')), []);
});

test('preemption is known without debugfs only if it is fixed', () => {
  const preemptModes = { unknown: 'open: not permitted' };
  const unknown = only(withKernel({ preemptModes, preemptOption: 'full' }));
  assert.deepEqual(
    [unknown.state, unknown.found],
    ['unknown', 'open: not permitted; the kernel starts with full'],
  );
  const config = (...names: string[]) => ({
    value: new Map([...names, 'NETKIT', 'NET_SCH_FQ'].map((name) => [name, 'y'])),
  });
  assert.deepEqual(bad(withKernel({ preemptModes, config: config('PREEMPT_VOLUNTARY') })), []);
  const full = only(withKernel({ preemptModes, config: config('PREEMPT') }));
  assert.deepEqual([full.state, full.canApply], ['improve', false]);
});

test('a governor is set where the driver offers performance', () => {
  const governors = {
    value: new Map([
      [0, 'powersave'],
      [1, 'powersave'],
      [2, 'performance'],
    ]),
  };
  const finding = only({ processors: { count: 3, governors, canPerform: new Set([0]) } });
  assert.equal(finding.found, 'powersave on 2 of 3 CPUs');
  assert.deepEqual(
    finding.changes?.map(({ target }) => target),
    [{ kind: 'file', path: '/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor' }],
  );
});

test('a profile of tuned that slows the node down is named', () => {
  const profile = (name: string): Partial<Facts> => ({
    programs: { irqbalance: { value: false }, tunedProfile: { value: name } },
  });
  assert.equal(only(profile('balanced')).command, 'tuned-adm profile network-latency');
  for (const name of ['network-throughput', 'my-own']) assert.deepEqual(bad(profile(name)), []);
});

test('interrupts of many queues on one CPU are spread, unless irqbalance runs', () => {
  const at = (cpu: number) => (number: number) => ({ number, count: 5, cpus: [cpu] });
  const interrupts = { value: [...[30, 31, 32].map(at(0)), { number: 33, count: 0, cpus: [3] }] };
  const finding = only(withDevice({ interrupts }));
  assert.equal(finding.found, '1 of 4 CPUs serves 3 interrupts; irqbalance does not run');
  assert.equal(
    finding.command,
    [0, 1, 2].map((i) => `echo ${i} > /proc/irq/${30 + i}/smp_affinity_list`).join('; '),
  );
  const programs = { irqbalance: { value: true }, tunedProfile: { value: undefined } };
  assert.equal(only({ ...withDevice({ interrupts }), programs }).canApply, false);
  const spread = { value: [at(0)(30), at(1)(31), at(2)(32)] };
  assert.deepEqual(bad(withDevice({ interrupts: spread })), []);
});

test('queues and rings that are smaller than they can be', () => {
  const queues = only(withDevice({ channels: { value: { combined: 1, combinedMax: 8 } } }));
  assert.equal(queues.command, 'ethtool -L eth0 combined 4');
  const rings = { value: { rx: 256, rxMax: 4096, tx: 256, txMax: 4096 } };
  assert.equal(only(withDevice({ rings })).command, 'ethtool -G eth0 rx 1024');
  const lossy = only(withDevice({ rings, fifoErrors: { value: 12 } }));
  assert.deepEqual([lossy.state, lossy.command], ['wrong', 'ethtool -G eth0 rx 4096']);
  assert.deepEqual(
    bad(withDevice({ rings: { value: undefined }, channels: { value: undefined } })),
    [],
  );
});
