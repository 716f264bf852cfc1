import { type Change, type Check, judged, type Result } from '../check.ts';
import type { DeviceFacts, Facts, Interrupt } from '../facts.ts';

const governorFile = (cpu: number) => `/sys/devices/system/cpu/cpu${cpu}/cpufreq/scaling_governor`;

export const governor: Check = {
  name: 'cpu-governor',
  about: 'the frequency governor of the CPUs',
  advice: 'performance',
  reason:
    'a CPU that has slowed down takes its time to speed up, which short bursts of packets wait for; the effect depends on the CPU and was not measured',
  risk: 'more power and heat',
  applies: 'yes',
  examine({ processors }) {
    return [
      judged(processors.governors, (governors) => {
        const slow = [...governors].filter(([, name]) => name !== 'performance');
        if (governors.size === 0) {
          return { state: 'good', found: 'the kernel does not change frequencies' };
        }
        if (slow.length === 0) return { state: 'good', found: 'performance' };
        const names = [...new Set(slow.map(([, name]) => name))].join(', ');
        const found = `${names} on ${slow.length} of ${processors.count} CPUs`;
        const able = slow.filter(([cpu]) => processors.canPerform.has(cpu));
        const changes = able.map(([cpu]): Change => {
          return { target: { kind: 'file', path: governorFile(cpu) }, value: 'performance' };
        });
        const command = 'cpupower frequency-set -g performance';
        return { state: 'improve', found, recommended: 'performance', command, changes };
      }),
    ];
  },
};

const goodProfiles = /^(network-|throughput-performance|latency-performance|accelerator-)/;
const slowProfiles = /^(balanced|powersave|desktop|laptop)/;

export const tuned: Check = {
  name: 'tuned-profile',
  about: 'the active profile of tuned',
  advice: 'network-latency or network-throughput, where tuned runs',
  reason: 'balanced and powersave slow CPUs down and undo settings of this page after a restart',
  risk: 'more power and heat; the profile also changes sysctls',
  applies: 'no',
  examine({ programs }) {
    return [
      judged(programs.tunedProfile, (profile) => {
        if (profile === undefined) return { state: 'good', found: 'tuned is not installed' };
        if (goodProfiles.test(profile)) return { state: 'good', found: profile };
        if (!slowProfiles.test(profile)) {
          return { state: 'good', found: `${profile}, which Heddle does not know` };
        }
        return {
          ...{ state: 'improve', found: profile, recommended: 'network-latency' },
          command: 'tuned-adm profile network-latency',
        };
      }),
    ];
  },
};

/** Returns the results of a check for each external interface. */
function external({ devices }: Facts, judge: (device: DeviceFacts) => Result): Result[] {
  if ('unknown' in devices) return [{ state: 'unknown', found: devices.unknown }];
  return devices.value.filter(({ role }) => role === 'external').map(judge);
}

function judgeInterrupts(facts: Facts, all: readonly Interrupt[]): Result {
  const { count } = facts.processors;
  const { irqbalance } = facts.programs;
  const busy = all.filter(({ count: times }) => times > 0);
  if (busy.length < 2 || count < 2) return { state: 'good', found: 'one queue or one CPU' };
  const used = new Set(busy.map(({ cpus }) => cpus[0]));
  const most = Math.min(busy.length, count);
  const balance =
    'value' in irqbalance ? `irqbalance ${irqbalance.value ? 'runs' : 'does not run'}` : '';
  const cpus = `${used.size} of ${count} CPUs ${used.size === 1 ? 'serves' : 'serve'}`;
  const found = [`${cpus} ${busy.length} interrupts`, balance].filter(Boolean).join('; ');
  if (used.size * 2 > most) return { state: 'good', found };
  const recommended = `one CPU for each, over ${most} CPUs`;
  if ('value' in irqbalance && irqbalance.value) {
    // It would undo the change.
    return { state: 'improve', found, recommended, command: 'irqbalance --debug' };
  }
  const changes = busy.map(({ number }, i): Change => {
    const path = `/proc/irq/${number}/smp_affinity_list`;
    return { target: { kind: 'file', path }, value: `${i % count}` };
  });
  return { state: 'improve', found, recommended, changes };
}

export const interrupts: Check = {
  name: 'interrupts',
  about: 'CPUs that serve the interrupts of external interfaces, and irqbalance',
  advice: 'the queues spread over the CPUs',
  reason:
    'one CPU for all queues limits the node to what it can handle; the effect depends on the load and was not measured',
  risk: 'where irqbalance runs it decides',
  applies: 'in part',
  examine: (facts) =>
    external(facts, ({ name, interrupts: fact }) =>
      judged(fact, (all) => judgeInterrupts(facts, all), name),
    ),
};

export const queues: Check = {
  name: 'queues',
  about: 'the number of queues of external interfaces',
  advice: 'as many as CPUs, if the interface has them',
  reason: 'packets of one queue are handled by one CPU; the effect was not measured',
  risk: 'the interface loses its link for a moment',
  applies: 'no',
  examine: (facts) =>
    external(facts, ({ name, channels }) =>
      judged(
        channels,
        (value) => {
          if (!value || value.combinedMax < 2)
            return { state: 'good', found: 'no queues to choose' };
          const { combined, combinedMax } = value;
          const best = Math.min(combinedMax, facts.processors.count);
          const found = `${combined} of ${combinedMax}, with ${facts.processors.count} CPUs`;
          if (combined >= best) return { state: 'good', found };
          const command = `ethtool -L ${name} combined ${best}`;
          return { state: 'improve', found, recommended: `${best}`, command };
        },
        name,
      ),
    ),
};

/** A ring below this is short at 10 Gbit/s: it holds the packets of less than a millisecond. */
const enoughRing = 1024;

export const rings: Check = {
  name: 'rings',
  about: 'the ring sizes of external interfaces, and packets dropped by full rings',
  advice: `${enoughRing} received packets at least; more where packets were dropped`,
  reason:
    'packets that find the ring full are lost, and TCP slows down; 1,024 packets of 1.5 KB fill in 1.2 ms at 10 Gbit/s',
  risk: 'the interface loses its link for a moment; more memory',
  applies: 'no',
  examine: (facts) =>
    external(facts, ({ name, rings: fact, fifoErrors }) =>
      judged(
        fact,
        (value) => {
          if (!value || value.rxMax === 0) return { state: 'good', found: 'no rings to choose' };
          const { rx, rxMax } = value;
          const lost = 'value' in fifoErrors ? fifoErrors.value : 0;
          const drops = lost > 0 ? `; ${lost} packets were dropped by full rings` : '';
          const found = `${rx} of ${rxMax} received packets${drops}`;
          const wanted = lost > 0 ? rxMax : Math.min(enoughRing, rxMax);
          if (rx >= wanted) return { state: 'good', found };
          const command = `ethtool -G ${name} rx ${wanted}`;
          return {
            state: lost > 0 ? 'wrong' : 'improve',
            found,
            recommended: `${wanted}`,
            command,
          };
        },
        name,
      ),
    ),
};
