import type { Change, Check, Result } from '../check.ts';
import { judged } from '../check.ts';
import { type DeviceFacts, type Feature, type KernelFacts, valueIfKnown } from '../facts.ts';

function judgeQdisc(device: DeviceFacts, kernel: KernelFacts | undefined): Result {
  const { name, qdisc } = device;
  const options = kernel && valueIfKnown(kernel.config);
  return judged(
    qdisc,
    (kind) => {
      if (kind === 'fq') return { state: 'good', found: kind };
      if (options && !options.has('NET_SCH_FQ')) {
        const found = `${kind}; this kernel has no fq (CONFIG_NET_SCH_FQ)`;
        return { state: 'improve', found, recommended: 'a kernel with fq' };
      }
      const found = kind;
      if (!kind.startsWith('default')) {
        // The options of a discipline that was set can't be restored.
        const command = `tc qdisc replace dev ${name} root fq`;
        return { state: 'improve', found, recommended: 'fq', command };
      }
      const changes: Change[] = [{ target: { kind: 'qdisc', device: name }, value: 'fq' }];
      return { state: 'improve', found, recommended: 'fq', changes };
    },
    name,
  );
}

export const fq: Check = {
  name: 'fq',
  about: 'the queueing discipline of external interfaces',
  advice: 'fq at these interfaces; leave net.core.default_qdisc as it is',
  reason:
    'fq sends each packet at the time that Heddle or BBR has given it; without it egress bandwidth of pods is enforced by drops, and BBR uses a timer for each socket. As default_qdisc it would also delay packets that are forwarded to virtual machines',
  risk: 'queued packets are lost once',
  applies: 'yes',
  examine({ devices, kernel }) {
    if ('unknown' in devices) return [{ state: 'unknown', found: devices.unknown }];
    return devices.value
      .filter(({ role }) => role === 'external')
      .map((device) => judgeQdisc(device, valueIfKnown(kernel)));
  },
};

/** The offloads that are wanted, by the kernel's names; several names are alternatives. */
const wanted: readonly (readonly string[])[] = [
  ['rx-gro'],
  ['tx-generic-segmentation'],
  ['tx-tcp-segmentation'],
  ['rx-checksum'],
  ['tx-checksum-ip-generic', 'tx-checksum-ipv4'],
];

function judgeOffloads({ name, features }: DeviceFacts): Result {
  return judged(
    features,
    (all) => {
      const off: [string, Feature][] = [];
      for (const names of wanted) {
        const present = names.flatMap((each): [string, Feature][] => {
          const feature = all.get(each);
          return feature && (feature.active || feature.changeable) ? [[each, feature]] : [];
        });
        const isOn = present.some(([, { active }]) => active);
        if (!isOn && present[0]) off.push(present[0]);
      }
      if (off.length === 0) return { state: 'good', found: 'all on that the interface has' };
      const changes = off.map(([feature]): Change => {
        return { target: { kind: 'feature', device: name, feature }, value: 'on' };
      });
      const found = `off: ${off.map(([feature]) => feature).join(', ')}`;
      return { state: 'improve', found, recommended: 'on', changes };
    },
    name,
  );
}

export const offloads: Check = {
  name: 'offloads',
  about: 'GRO, GSO, TSO and checksums of external interfaces and of the tunnel',
  advice: 'on, unless the network card is known to compute wrong checksums in tunnels',
  reason:
    'with them the stack handles segments of 64 KB in place of packets of 1.5 KB; large segments (BIG TCP) need them and take 0.65 of the time for 1 MB between pods',
  risk: 'some network cards corrupt or drop tunnelled packets with offloaded checksums (50 to 300 Mbit/s are reported then): turn tx-checksum-ip-generic of the tunnel off there',
  applies: 'yes',
  examine({ devices }) {
    if ('unknown' in devices) return [{ state: 'unknown', found: devices.unknown }];
    return devices.value.map(judgeOffloads);
  },
};

export const mtu: Check = {
  name: 'mtu',
  about: 'the MTU of external interfaces',
  advice: 'the same at all of them, and on all nodes',
  reason:
    'pods get the lowest one less the overhead of the tunnel; a higher one of another interface is not used, and behind a lower one that changes later packets are fragmented (447 fragments for 600 KB in a trial) or lost',
  risk: 'a change interrupts some network cards; both ends of a link and the switches between must agree',
  applies: 'no',
  examine({ devices }) {
    if ('unknown' in devices) return [{ state: 'unknown', found: devices.unknown }];
    const external = devices.value.filter(({ role }) => role === 'external');
    if (external.length === 0) return [{ state: 'good', found: 'no external interface' }];
    const found = external.map(({ name, mtu: bytes }) => `${name} ${bytes}`).join(', ');
    const highest = Math.max(...external.map(({ mtu: bytes }) => bytes));
    const lower = external.filter(({ mtu: bytes }) => bytes < highest);
    if (lower.length === 0) return [{ state: 'good', found }];
    return [
      {
        ...{ state: 'wrong', found, recommended: `one MTU, e.g. ${highest}` },
        command: lower.map(({ name }) => `ip link set ${name} mtu ${highest}`).join('; '),
      },
    ];
  },
};
